"""Both front doors without an installation: Python, pip and the driver are stand-ins."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from clones import PREPARE, ROOT, SHARED, Clone, programs


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path)


def test_first_call_installs_and_second_starts_no_python(clone):
    first = clone.prepare()
    assert first.returncode == 0, first.stderr
    assert f"PYTHON={clone.venv}/bin/python" in first.stdout
    assert "from requirements-cpu.lock" in first.stdout
    installs = [call for call in clone.logged() if " pip install " in call]
    assert ["setuptools==" in installs[0], "-r " in installs[1], "-e " in installs[2]] == [True] * 3
    assert all("--no-deps" in call for call in installs)

    start = time.perf_counter()
    second = clone.prepare()
    assert time.perf_counter() - start < 2
    assert second.returncode == 0 and "up to date (cpu)" in second.stdout
    assert clone.logged() == []


@pytest.mark.parametrize("changed", ["requirements-cpu.lock", "setup.py", ".venv/pyvenv.cfg"])
def test_a_change_of_what_it_was_made_from_makes_it_again(clone, changed):
    clone.prepare()
    with (clone.root / changed).open("a") as file:
        file.write("# changed\n")
    assert "making .venv" in clone.prepare().stdout


def test_moving_the_folder_makes_it_again(clone):
    clone.prepare()
    clone.root = clone.root.rename(clone.root.with_name("moved"))
    assert "making .venv" in clone.prepare().stdout


def test_failed_installation_says_so_and_is_repaired(clone):
    failed = clone.prepare(FAILING="-r")
    assert failed.returncode == 1
    assert "no luck" in failed.stderr
    assert "environment: installation stopped: see pip's message above" in failed.stderr
    assert clone.venv.exists() and not clone.stamp.exists()
    (clone.venv / "left over").touch()
    assert clone.prepare().returncode == 0
    assert clone.stamp.exists() and not (clone.venv / "left over").exists()


def test_somebody_elses_venv_is_kept(clone):
    clone.venv.mkdir()
    (clone.venv / "precious").touch()
    result = clone.prepare()
    (kept,) = clone.root.glob(".venv.before-*")
    assert (kept / "precious").exists() and f"kept as {kept}" in result.stdout
    assert clone.stamp.exists()


def test_gpu_lock_where_a_driver_answers(clone):
    clone.prepare()
    clone.stand_in("nvidia-smi", '#!/bin/sh\necho asked >>"$CALLS"\necho "GPU 0: Any"\n')
    result = clone.prepare()
    assert "from requirements-gpu.lock" in result.stdout and "ready" in result.stdout
    assert "up to date (gpu)" in clone.prepare().stdout
    assert clone.logged() == []  # not even the driver is asked again
    assert "requirements-cpu.lock" in clone.prepare(SSL_WEIGHTING_DEVICE="cpu").stdout


@pytest.mark.skipif(shutil.which("flock") is None, reason="needs flock")
def test_two_calls_at_once_install_once(clone):
    clone.calls.touch()
    calls = [
        subprocess.Popen(
            [*PREPARE, clone.root / SHARED[0]],
            env=clone.environment | {"PAUSE": "0.5"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [call.communicate(timeout=20)[0] for call in calls]
    assert [call.returncode for call in calls] == [0, 0]
    assert sum("waiting for another call" in output for output in outputs) == 1
    assert sum(call.startswith("-m venv") for call in clone.logged()) == 1


def test_unknown_device_is_refused(clone):
    result = clone.prepare(SSL_WEIGHTING_DEVICE="tpu")
    assert result.returncode == 1
    assert "must be cpu, gpu or unset. Received: SSL_WEIGHTING_DEVICE=tpu" in result.stderr


@pytest.mark.parametrize("version", ["3.10.4", "3.14.0", "2.7.18"])
def test_unfit_python_is_named(clone, version):
    result = clone.prepare(FAKE_VERSION=version)
    assert result.returncode == 1
    assert "Python 3.11, 3.12 or 3.13" in result.stderr
    assert f"Received: Python {version}" in result.stderr
    assert not clone.venv.exists()


def test_tests_run_lint_before_pytest_and_pass_arguments_on(clone):
    result = clone.run(str(clone.root / "tests/run.sh"), "--all", "-k", "two words")
    assert result.returncode == 0, result.stderr
    assert clone.logged()[-3:] == [
        "-m ruff check .",
        "-m ruff format --check .",
        "-m pytest -n 2 --dist loadfile --no-loadscope-reorder -m  -k two words",
    ]
    assert clone.run(str(clone.root / "tests/run.sh"), FAILING="ruff").returncode == 7
    assert clone.run(str(clone.root / "tests/run.sh"), FAILING="pytest").returncode == 7


FAMILIES = "rotten_tomatoes,fashion_mnist,mnist,fashion_mnist_features,toy"


def families(clone) -> list[str]:
    return [call.split("--family=")[1].split()[0] for call in programs(clone) if "family" in call]


def test_run_all_runs_each_program_once(clone):
    out = clone.bin / "my results"
    result = clone.run(str(clone.root / "run_all.sh"), "--profile=default", "--out=my results")
    assert result.returncode == 0, result.stderr
    assert f"Report: {out}/report.html" in result.stdout
    cache = Path(clone.environment["HOME"]) / ".cache/ssl_weighting"
    run_profile = "-m experiments.run_profile --profile=default"
    assert programs(clone) == [
        f"-m experiments.fetch_data --dataset=fashion_mnist --cache={cache}",
        f"-m experiments.fetch_data --dataset=mnist --cache={cache}",
        f"{run_profile} --family={FAMILIES} --jobs=0 --galleries --out={out}",
        f"-m experiments.make_report --runs={out}/runs --out={out}",
    ]


def test_run_all_falls_back_to_digits_with_a_warning(clone):
    failing = {"FAILING": "--dataset=fashion_mnist", "STATUS": "3"}
    result = clone.run(str(clone.root / "run_all.sh"), **failing)
    assert result.returncode == 0
    assert "warning: Fashion-MNIST is not available (see above). The small digits" in result.stderr
    assert "not those of Fashion-MNIST" in result.stderr
    assert families(clone) == ["rotten_tomatoes,digits,mnist,toy"]


def test_run_all_skips_mnist_with_a_warning(clone):
    failing = {"FAILING": "--dataset=mnist", "STATUS": "3"}
    result = clone.run(str(clone.root / "run_all.sh"), **failing)
    assert result.returncode == 0
    assert "warning: MNIST is not available (see above). Its runs are skipped" in result.stderr
    assert families(clone) == ["rotten_tomatoes,fashion_mnist,fashion_mnist_features,toy"]


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_run_all_stops_when_fetching_fails_otherwise(clone, name):
    result = clone.run(str(clone.root / "run_all.sh"), FAILING=f"--dataset={name}", STATUS="1")
    assert result.returncode == 1
    assert f"fetching {name} failed (exit code 1, see above)" in result.stderr
    assert families(clone) == []


def test_run_all_stops_when_training_fails(clone):
    result = clone.run(str(clone.root / "run_all.sh"), FAILING=f"--family={FAMILIES}")
    assert result.returncode == 1
    assert "training failed; the runs so far are in" in result.stderr
    assert f"--family={FAMILIES}" in programs(clone)[-1]


def test_run_all_gives_a_gpu_to_one_process(clone):
    clone.run(str(clone.root / "run_all.sh"), SSL_WEIGHTING_DEVICE="gpu")
    assert "--jobs=1" in programs(clone)[-2]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--profile=full", r"`--profile` must be one of: default, paper, study. Received: --prof"),
        ("--steps=3", "unknown argument. Received: --steps=3. Known: --profile="),
        ("--out=", "unknown argument. Received: --out=."),
    ],
)
def test_run_all_refuses_unknown_arguments(clone, argument, message):
    result = clone.run(str(clone.root / "run_all.sh"), argument)
    assert result.returncode == 2
    assert message in result.stderr
    assert clone.logged() == []


def test_run_all_help_needs_no_environment(clone):
    result = clone.run(str(clone.root / "run_all.sh"), "--help")
    assert result.returncode == 0 and "--profile" in result.stdout
    assert clone.logged() == []


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_run_all_hands_signals_on_and_waits(clone, heard_signals, name, status):
    clone.prepare()
    process = subprocess.Popen(
        [clone.root / "run_all.sh"],
        env=clone.environment | {"SLOW": f"--family={FAMILIES}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any("--family=" in call for call in clone.logged()):
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=20)
    assert process.returncode == status
    assert "stopped. Call again to resume" in errors
    assert clone.logged()[-1] == "saved"


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_lock_files_name_exact_versions_only(device):
    lines = (ROOT / f"requirements-{device}.lock").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(line.count("==") == 1 and " " not in line and "@" not in line for line in pins)
    names = {line.split("==")[0] for line in pins}
    assert len(names) == len(pins)
    assert names & {"tensorflow", "tensorflow-cpu"} == {
        {"cpu": "tensorflow-cpu", "gpu": "tensorflow"}[device]
    }
    assert {"setuptools", "wheel", "pytest", "ruff", "mlxtend", "psutil", "keras"} <= names
