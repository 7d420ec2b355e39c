"""Traces beside each other: what passes, what fails, and where a failure is said to be."""

import copy
import json
import math

import pytest

from experiments.device_check import records
from experiments.device_check.cases import CASES, FLOAT32, JIT, LAMBDA_LR, MIXED, TF32, variants
from experiments.device_check.compare import TOLERANCES, certain, compare
from experiments.device_check.trace import Trace

FLOAT, HALF = TOLERANCES["float32"], TOLERANCES["half"]


def a_trace():
    """Twenty steps, a Lambda-step before each fifth; influences of all sizes, one of them 0."""
    influence = [2.0, -1.0, 0.5, 1e-3, 0.0]
    lam = [0.9, 1.1, 0.9, 0.9, 1.0]
    return Trace(
        [2.0 - 0.05 * k for k in range(20)],
        [3.0 + 0.1 * k for k in range(20)],
        [
            {
                "step": step, "validation_loss": 1.5, "ids": [4, 3, 2, 1, 0],
                "influence": list(influence), "lam": list(lam),
            }
            for step in (0, 5, 10, 15)
        ],
    )  # fmt: skip


def changed(change):
    trace = copy.deepcopy(a_trace())
    change(trace)
    return compare(trace, a_trace(), FLOAT)


def test_a_trace_agrees_with_itself_and_says_nothing():
    assert compare(a_trace(), a_trace(), FLOAT).share == 0


@pytest.mark.parametrize(
    ("change", "share", "where"),
    [
        # Allowed: 2e-4 of a number at step 1, 2e-3 at step 20, on a line between.
        (lambda t: t.loss.__setitem__(0, 2.0 * (1 + 1e-4)), 0.5, "loss of step 1"),
        (lambda t: t.loss.__setitem__(0, 2.0 * (1 - 4e-4)), 2, "loss of step 1"),
        (lambda t: t.loss.__setitem__(19, 1.05 * (1 + 1e-3)), 0.5, "loss of step 20"),
        (
            lambda t: t.gradient_norm.__setitem__(19, 4.9 * (1 + 6e-3)),
            3,
            "gradient norm of step 20",
        ),
        (
            lambda t: t.lambda_steps[0].update(validation_loss=1.5 * (1 + 6e-4)),
            3,
            "validation loss before step 1",
        ),
        # 1e-3 of the largest, also of a small one; one per cent of the largest is ten times that.
        (
            lambda t: t.lambda_steps[1]["influence"].__setitem__(0, 2.02),
            10,
            "an influence before step 6",
        ),
        (
            lambda t: t.lambda_steps[1]["influence"].__setitem__(4, 1e-3),
            0.5,
            "an influence before step 6",
        ),
        # A twentieth of a step of Lambda.
        (
            lambda t: t.lambda_steps[2]["lam"].__setitem__(0, 0.9 + 0.1 * LAMBDA_LR),
            2,
            "a weight before step 11",
        ),
        (lambda t: t.lambda_steps[2]["lam"].__setitem__(4, 0.9), 20, "a weight before step 11"),
    ],
)
def test_what_is_apart_is_measured_in_what_is_allowed(change, share, where):
    found = changed(change)
    assert found.share == pytest.approx(share, rel=1e-6) and found.where == where


def test_a_weight_that_rounding_could_send_either_way_is_not_compared():
    other_way = changed(lambda t: t.lambda_steps[0]["lam"].__setitem__(3, 1.1))
    later = changed(lambda t: t.lambda_steps[3]["lam"].__setitem__(3, 1.1))
    assert other_way.share == later.share == 0
    assert certain(a_trace(), FLOAT) == 4 / 5  # the exact 0 is certain: it may not move
    assert certain(a_trace(), HALF) == 3 / 5  # 10 x 5e-2 of the largest, or more


def test_weights_that_do_not_move_are_seen():
    def still(trace):
        for one in trace.lambda_steps:
            one["lam"] = [1.0] * 5

    found = changed(still)
    assert found.share == pytest.approx(20) and "a weight" in found.where


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda t: t.loss.__setitem__(3, math.nan), "loss of step 4"),
        (lambda t: t.lambda_steps[0]["influence"].__setitem__(1, math.inf), "an influence before"),
        (lambda t: t.loss.pop(), "19 steps instead of 20"),
        (lambda t: t.lambda_steps.pop(), "other Lambda-steps than recorded"),
        (lambda t: t.lambda_steps[1].update(ids=[9, 3, 2, 1, 0]), "other examples before step 6"),
    ],
)
def test_what_cannot_be_compared_fails(change, where):
    found = changed(change)
    assert found.share == math.inf and where in found.where


def test_half_precision_is_held_to_three_steps():
    first = Trace(a_trace().loss[:3], a_trace().gradient_norm[:3], a_trace().lambda_steps[:1])
    assert compare(first, a_trace(), HALF).share == 0
    first.loss[2] *= 1.1
    assert compare(first, a_trace(), HALF).share == pytest.approx(2)
    assert compare(a_trace(), a_trace(), HALF).where == "20 steps instead of 3"


def test_a_case_is_played_in_every_way_that_the_machine_has():
    small, net, large = CASES["mlp_uda"], CASES["uda"], CASES["uda_paper"]
    assert variants(net, 0, 1) == (FLOAT32,) and variants(net, 1, 1) == (FLOAT32, TF32)
    assert variants(small, 0, 1) == (FLOAT32, MIXED, JIT)
    assert variants(large, 0, 2) == (FLOAT32,)
    assert variants(large, 1, 1) == (FLOAT32, TF32, MIXED, JIT)
    *most, several = variants(small, 4, 4)
    assert most == [FLOAT32, TF32, MIXED, JIT]
    assert (several.name, several.devices, several.tolerance) == ("devices=4", 4, "float32")


def test_a_trace_is_read_as_it_was_written(tmp_path):
    records.write("mine", a_trace(), tmp_path)
    assert records.read("mine", tmp_path) == a_trace()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "FileNotFoundError"),
        (lambda path: path.write_text(path.read_text()[:-40]), "JSONDecodeError"),
        (lambda path: path.write_text("[]"), "TypeError"),
        (lambda path: path.write_text('{"loss": [1.0]}'), "KeyError: 'gradient_norm'"),
        (
            lambda path: path.write_text(path.read_text().replace('loss": 1.5', 'loss": "1"')),
            "TypeError",
        ),
        (lambda path: path.write_text(path.read_text().replace("[2.0", "[NaN")), "not finite"),
    ],
)
def test_a_damaged_trace_is_named(tmp_path, damage, message):
    records.write("mine", a_trace(), tmp_path)
    damage(tmp_path / "mine.json")
    with pytest.raises(ValueError, match=r"mine\.json must be a trace of case mine\. ") as error:
        records.read("mine", tmp_path)
    assert message in str(error.value) and "--record" in str(error.value)


def test_a_trace_that_hangs_on_roundings_is_not_written(tmp_path, monkeypatch):
    from experiments.device_check import play as playing

    moved = []

    def play(case, variant=FLOAT32, *, shake=0.0):
        trace = copy.deepcopy(a_trace())
        trace.loss[0] *= 1 + moved[0] * bool(shake)
        return playing.Played(trace, 0.0, None, None)

    monkeypatch.setattr(playing, "play", play)
    moved.append(3e-4)
    with pytest.raises(ValueError, match=r"(?s)must not hang on a rounding.*step 1 by 1\.5 of"):
        records.record(CASES["uda"], tmp_path)
    assert not list(tmp_path.iterdir())
    moved[0], said = 5e-5, []
    records.record(CASES["uda"], tmp_path, said.append)
    assert said == ["uda: moved by 0.25 of what is allowed, 80% weights certain"]
    content = json.loads((tmp_path / "uda.json").read_text())
    assert content["case"] == "uda" and {"threads", "cpu"} <= content["machine"].keys()
