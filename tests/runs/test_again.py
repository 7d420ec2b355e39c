"""Runs of one process that share compiled functions: each is what it is alone, bit for bit."""

from types import SimpleNamespace

import pytest
from feature_files import arrays, write_npz
from runs import DIGITS, MOONS

from experiments.assemble import build as building
from experiments.compare_runs import differences
from experiments.options.presets import make_config
from experiments.runs import again
from experiments.runs import execute as running
from experiments.runs.state import capture
from ssl_weighting.theta.solve import Solve

SHARED = {
    "learned": MOONS | {"algorithm": "pseudo_label", "lambda_warmup_steps": 2},
    "teacher": MOONS | {"algorithm": "mean_teacher", "weighting": "single"},
    "images": DIGITS | {"algorithm": "fixmatch", "steps": 8, "jit": True},
    "shuffled": MOONS | {"weighting": "shuffled"},
    "cross_fit": MOONS
    | {"algorithm": "pseudo_label", "validation": "cross_fit", "refit": True, "val_size": 0}
    | {"weighting": "shuffled"},
}
SEEDED = {
    "random": MOONS | {"weighting": "random"},
    "vat": MOONS | {"algorithm": "vat", "weighting": "fixed"},
}


SOLVED = {
    "inner": "solve", "steps": 4, "round_steps": 2, "validation": "cross_fit", "refit": True,
    "num_labeled": 12, "num_unlabeled": 30, "components": 2,
}  # fmt: skip


def trained(config, **options):
    assert running.execute(config, "test", **options)


def traced(step):
    """Return how often the functions of a theta-step were traced."""
    functions = [step._rows, step._weigh] if isinstance(step, Solve) else [step._block.loop]
    return [function.experimental_get_tracing_count() for function in functions]


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("shuffled", True), ("vat", False), ("solve", True),
        pytest.param("teacher", True, marks=pytest.mark.slow),
        pytest.param("learned", True, marks=pytest.mark.slow),  # as shuffled weights are, too
        pytest.param("random", False, marks=pytest.mark.slow),
        pytest.param("cross_fit", True, marks=pytest.mark.slow),
        pytest.param("images", True, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_run_in_place_of_another_is_the_run_that_it_is_alone(name, shares, tmp_path, monkeypatch):
    kept, used = again.Kept(), []

    def in_place_of(fresh):
        used.append(kept.in_place_of(fresh))
        return used[-1]

    monkeypatch.setattr(running, "_kept", SimpleNamespace(in_place_of=in_place_of))
    options = (SHARED | SEEDED | {"solve": SOLVED})[name]
    if name == "solve":
        data = write_npz(tmp_path / "features.npz", **arrays(n=90, unlabeled=0))
        options = options | {"dataset": data}
    one, two, alone = (
        make_config(**options, seed=seed, out=str(tmp_path / out))
        for seed, out in ((1, "one"), (2, "two"), (2, "alone"))
    )
    trained(one, again=True)
    trained(two, again=True)
    trained(alone)
    assert (used[0] is used[1]) == shares
    assert differences(tmp_path / "two", tmp_path / "alone") == []
    for trainer in again._trainers(used[1]):
        assert set(traced(trainer.theta)) == {1}, "else nothing is gained"
    assert differences(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize(
    "other",
    [{"lambda_max": 2.0}, {"num_unlabeled": 41}, {"steps": 13}, {"algorithm": "supervised"}],
)
def test_runs_that_differ_in_more_than_the_seed_share_nothing(other):
    kept = again.Kept()
    first, second = (
        building.build(config, building.load_splits(config))
        for config in (make_config(**options) for options in (MOONS, MOONS | other))
    )
    assert kept.in_place_of(first) is first
    assert kept.in_place_of(second) is second


@pytest.mark.parametrize(("components", "shares"), [(0, False), (2, True)])
def test_how_a_net_standardises_is_part_of_its_functions(tmp_path, components, shares):
    """Means and deviations of D and U are constants, principal components are variables."""
    dataset = write_npz(tmp_path / "features.npz", **arrays(n=90, unlabeled=0))
    kept, runs = again.Kept(), []
    for seed in (1, 2):
        options = {"num_labeled": 6, "val_size": 6, "num_unlabeled": 30, "components": components}
        config = make_config(dataset=dataset, seed=seed, **options)
        fresh = building.build(config, building.load_splits(config))
        bits = [value.tobytes() for value in capture(fresh).values()]
        runs.append(kept.in_place_of(fresh))
        assert [value.tobytes() for value in capture(runs[-1]).values()] == bits
    assert (runs[0] is runs[1]) == shares
