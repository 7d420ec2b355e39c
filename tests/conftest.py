"""Shared fixtures: quiet TensorFlow, fixed seeds, a tiny float64 problem."""

import gc
import os
import shutil
import signal
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import pytest

gc.disable()  # see `_few_objects_to_look_at`

COLLECTED_FROM = 6 * 2**30  # bytes that a process of the tests may hold before it collects
# The files that take longest, longest first: started first, they end when the short ones do, in
# whichever of the processes of ./tests/run.sh they run.
LONGEST = (
    "test_estimator",
    "test_per_example_engines",
    "test_weighted_model",
    "test_verify_influence",
    "test_refit",
    "test_influence_params",
    "test_bilevel_steps",
    "test_ctaugment_training",
    "test_all_algorithms_train",
    "test_execute",
    "test_export_model",
    "test_programs",
    "test_resume_modes",
    "test_resume",
    "test_again",
    "test_bilevel",
    "test_peers",
    "test_per_example_rules",
    "test_devices",
)


def pytest_collection_modifyitems(items):
    place = {name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


@pytest.fixture(autouse=True)
def _fixed_seeds():
    keras.utils.set_random_seed(1234)


@pytest.fixture(scope="module", autouse=True)
def _few_objects_to_look_at():
    """Collect what a module leaves, if that is much, and look at the rest no more.

    TensorFlow's objects are millions: to look at all of them again and again took a fifth of the
    time of the tests, and to take its functions down after every module still a twentieth.
    """
    gc.freeze()
    yield
    if _resident() > COLLECTED_FROM:
        gc.collect()


def _resident():
    """Return the bytes of memory that this process holds; without /proc, as many as it takes."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return COLLECTED_FROM + 1
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def unbroken():
    """Return the folder of a run on digits that nobody stopped; a test may read it only."""
    import runs

    return runs.unbroken_run()[0]


@pytest.fixture(scope="module")
def recorded(unbroken):
    """Return what that run left to score by."""
    from experiments.runs.saved_model import read_run
    from experiments.runs.scorer_files import read_scorer

    return read_scorer(unbroken, read_run(unbroken))


@pytest.fixture(scope="module")
def workshop():
    """Return what builds the runs of that kind, with all that they can share."""
    import runs

    return runs.unbroken_run()[1]


@pytest.fixture
def copy(unbroken, tmp_path):
    return Path(shutil.copytree(unbroken, tmp_path / "copy"))


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def heard_signals():
    """Undo what nohup and background jobs of a script do: they ignore SIGHUP and SIGINT."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
