"""`import ssl_weighting`: light, checked, and the one place of the public names."""

import importlib.util
import os
import subprocess
import sys

import pytest
from places import ROOT

import ssl_weighting


def python(code: str, *options: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_import_without_tensorflow_names_both_extras():
    # -S leaves out site-packages, and with them TensorFlow.
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import ssl_weighting"
    result = python(code, "-I", "-S")
    assert result.returncode == 1
    assert "pip install -e '.[cpu]'` and `pip install -e '.[gpu]'" in result.stderr


def test_import_under_another_keras_backend_is_refused():
    expected = "`KERAS_BACKEND` must be 'tensorflow' or unset. Received: KERAS_BACKEND=jax"
    assert expected in python("import ssl_weighting", KERAS_BACKEND="jax").stderr


def test_import_alone_loads_no_other_package():
    code = """
import sys, ssl_weighting
names = dir(ssl_weighting)
assert set(ssl_weighting.__all__) < set(names) and "__version__" in names
print({"tensorflow", "keras", "numpy", "scipy"} & set(sys.modules))
print([name for name in sys.modules if name.startswith("ssl_weighting.")])
"""
    result = python(code)
    assert result.stdout.splitlines() == ["set()", "[]"], result.stderr


@pytest.mark.parametrize("name", ssl_weighting.__all__)
def test_public_names_are_what_their_modules_hold(name):
    value = getattr(ssl_weighting, name)
    assert vars(ssl_weighting)[name] is value
    if getattr(value, "__name__", None):  # not the tables METHODS, ENGINES and ALGORITHMS
        assert value.__name__ == name and value.__module__.startswith("ssl_weighting.")


def test_public_names_are_unique_and_none_is_that_of_a_module():
    names = ssl_weighting.__all__
    assert len(names) == len(set(names))
    assert not [name for name in names if importlib.util.find_spec(f"ssl_weighting.{name}")]


def test_star_gives_the_public_names():
    found = {}
    exec("from ssl_weighting import *", found)
    assert set(found) - {"__builtins__"} == set(ssl_weighting.__all__)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(AttributeError, match=r"no public name 'FixMtch'. Known: .*FixMatch"):
        _ = ssl_weighting.FixMtch
    with pytest.raises(ImportError, match="FixMtch"):
        exec("from ssl_weighting import FixMtch")


def test_modules_stay_modules():
    code = """
import sys
from ssl_weighting import BilevelTrainer, influence, lam_gradient, objective
print(influence.lam_gradient is lam_gradient, callable(influence.influence), objective.__name__)
for name in [name for name in sys.modules if name.partition(".")[0] == "ssl_weighting"]:
    del sys.modules[name]
import ssl_weighting
assert not [name for name in sys.modules if name.startswith("ssl_weighting.")]
print(ssl_weighting.influence.__name__, ssl_weighting.influence is not influence)
"""
    found = python(code).stdout.splitlines()
    assert found[0].split() == ["True", "True", "ssl_weighting.objective"]
    assert found[1].split() == ["ssl_weighting.influence", "True"], "in whatever order"
