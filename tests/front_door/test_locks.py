"""The two lock files: all that setup.py asks for, in its ranges, and alike but for devices."""

import ast
import re

import pytest
from packaging.requirements import Requirement
from places import ROOT

LOCKS = ("cpu", "gpu")


def pins(device):
    lines = (ROOT / f"requirements-{device}.lock").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert len(dict(pairs)) == len(pairs) and lines[-1]
    return dict(pairs)


def asked_for(device):
    """Return the requirements of setup.py for a device, with those of benchmarks and tests."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    call = next(
        n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "setup"
    )
    given = {word.arg: word.value for word in call.keywords}
    extras = ast.literal_eval(given["extras_require"])
    needed = ast.literal_eval(given["install_requires"])
    for extra in (device, "programs", "bench", "dev"):
        needed = needed + extras[extra]
    return [Requirement(text) for text in needed]


@pytest.mark.parametrize("device", LOCKS)
def test_a_lock_file_has_all_that_setup_py_asks_for_in_its_ranges(device):
    found = pins(device)
    for wanted in asked_for(device):
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        assert name in found, f"{name} is missing in requirements-{device}.lock"
        assert wanted.specifier.contains(found[name]), f"{name}: {found[name]} for {wanted}"


def test_the_lock_files_differ_in_tensorflow_s_wheel_and_cuda_alone():
    cpu, gpu = map(pins, LOCKS)
    shared = cpu.keys() & gpu.keys()
    assert {name: cpu[name] for name in shared} == {name: gpu[name] for name in shared}
    assert cpu.keys() - gpu.keys() == {"tensorflow-cpu"}
    assert cpu["tensorflow-cpu"] == gpu["tensorflow"]
    beside = gpu.keys() - cpu.keys() - {"tensorflow"}
    assert beside and all(name.startswith("nvidia-") for name in beside)
