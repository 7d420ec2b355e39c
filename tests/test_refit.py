"""One model on all labels with the Lambda that was learned: bits, phases, state, records."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
import runs
from tiny import NUM_UNLABELED, make_trainer
from trainer_states import restore, snapshot

from experiments.assemble import build as building
from experiments.assemble.build import build, load_splits
from experiments.compare_runs import differences, newest_checkpoint
from experiments.options.effects import refuse_without_effect
from experiments.options.presets import make_config
from experiments.report.collect import collect_runs
from experiments.report.comparisons import Role, compare_setting
from experiments.report.grouping import group_runs
from experiments.runs.metrics import BEFORE_REFIT
from experiments.runs.record import before_refit, read_run
from ssl_weighting.bilevel import BilevelTrainer
from ssl_weighting.cross_fit import CrossFitTrainer
from ssl_weighting.data.splits import with_validation_as_labels
from ssl_weighting.evaluation import log_softmax
from ssl_weighting.refit import RefitTrainer
from ssl_weighting.training.optimizers import weight_store
from ssl_weighting.weight_store import WeightStore

CROSS_FIT = runs.MOONS | {"validation": "cross_fit", "folds": 3, "refit": True}
HELD_OUT = runs.MOONS | {"val_size": 10, "refit": True}
LEARNING_STEPS = 6


def learning(store, members=1):
    """Return what learns Lambda, `members` of it side by side."""
    found = [make_trainer(seed=seed, store=store) for seed in range(members)]
    return found[0] if members == 1 else CrossFitTrainer(found)


def refit_trainer(members=1, rate=0.5):
    store = WeightStore(NUM_UNLABELED, "per_example", keras.optimizers.SGD(rate))
    fresh = make_trainer(seed=7, store=store.frozen())
    return RefitTrainer(learning(store, members), fresh, LEARNING_STEPS)


def by_threes(step):
    return (step // 3 + 1) * 3


def names(events):
    return [f"{event.kind} {event.step}" for event in events]


def params_of(trainer):
    return [np.array(v.numpy()) for v in trainer.model.variables]


def going_back(trainer):
    """Return what puts a trainer at step 0 back to a snapshot, and its other models to now."""
    models = [*trainer.learning.members, trainer.refit]
    built = [v for m in models for v in (*m.model.variables, *m.optimizer.variables)]
    built += [v for m in models for v in m.ema.variables]
    fresh = [np.array(v.numpy()) for v in built]

    def go_back(saved):
        for variable, value in zip(built, fresh, strict=True):
            variable.assign(value)
        restore(trainer, saved)
        for member in models:
            member.theta.forget()

    return go_back


def assert_equal(ones, others):
    assert len(ones) == len(others)
    for one, other in zip(ones, others, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_refit_follows_the_learning_step_by_step():
    trainer = refit_trainer()
    start, go_back = snapshot(trainer), going_back(trainer)
    events = trainer.steps(12, by_threes)
    seen = []
    for event in events:
        seen.append((f"{event.kind} {event.step}", trainer.refits, trainer.lambda_steps))
    assert seen == [
        ("train 3", False, 0), ("train 4", False, 0), ("lambda 4", False, 1),
        ("train 6", False, 1), ("train 9", True, 1), ("train 12", True, 1),
    ]  # fmt: skip
    assert trainer.step == 12 and trainer.members == (trainer.refit,)
    assert (trainer.learning.step, trainer.refit.step) == (6, 6)
    assert list(trainer.steps(12)) == [], "nothing is left to do"
    go_back(start)
    assert names(trainer.steps(12)) == ["train 4", "lambda 4", "train 6", "train 12"]
    go_back(start)
    assert names(trainer.steps(5)) == ["train 4", "lambda 4", "train 5"]


@pytest.fixture(scope="module")
def moved():
    """A trainer of two models and a refit at its end; Lambda and the models before the refit."""
    trainer = refit_trainer(members=2)
    list(trainer.steps(LEARNING_STEPS))
    lam, learned = trainer.store.table().numpy(), [params_of(m) for m in trainer.members]
    list(trainer.steps(12, by_threes))
    return trainer, lam, learned


def test_the_refit_moves_no_weight_and_touches_no_model_that_learned(moved):
    trainer, lam, learned = moved
    assert (lam != 1).any() and len(learned) == 2
    assert_equal([lam], [trainer.store.table().numpy()])
    for member, expected in zip(trainer.learning.members, learned, strict=True):
        assert_equal(params_of(member), expected)


def test_with_weights_of_1_it_is_the_plain_algorithm_to_the_bit(moved):
    plain = make_trainer("fixed", seed=7)
    list(plain.steps(6, by_threes))
    trainer = refit_trainer(rate=0.0)
    list(trainer.steps(12, by_threes))
    assert trainer.lambda_steps == 1
    assert_equal(params_of(trainer.refit), params_of(plain))
    moved, _, _ = moved
    assert any(
        (a != b).any() for a, b in zip(params_of(moved.refit), params_of(plain), strict=True)
    )


@pytest.mark.parametrize("members", [1, 2])
def test_saved_between_any_two_events_it_goes_on_bit_for_bit(members):
    """Only the models that train at that step are saved; the others are as they were built."""
    trainer = refit_trainer(members)
    go_back = going_back(trainer)
    found = [(event, snapshot(trainer)) for event in trainer.steps(12, by_threes, lambda: 2)]
    events = [event for event, _ in found]
    assert {event.kind for event in events} == {"train", "piece", "lambda"}
    for done, (_, saved) in enumerate(found, 1):
        go_back(saved)
        rest = list(trainer.steps(12, by_threes, lambda: 2))
        assert repr(rest) == repr(events[done:]), f"after {done} events"
        assert_equal(snapshot(trainer)[0], found[-1][1][0])


def test_unfit_parts_are_refused():
    store = WeightStore(NUM_UNLABELED, "per_example", keras.optimizers.SGD(0.5))
    with pytest.raises(ValueError, match=r"`refit` must have .* Received: weights that learn"):
        RefitTrainer(learning(store), make_trainer(store=store), 6)
    with pytest.raises(ValueError, match=r"Received: other weights. Build it with `learning.store"):
        RefitTrainer(learning(store), make_trainer("fixed"), 6)
    with pytest.raises(ValueError, match=r"`learning_steps` must be at least 1. Received: 0"):
        RefitTrainer(learning(store), make_trainer(store=store.frozen()), 0)
    with pytest.raises(ValueError, match=r"of a mode that learns .*, not frozen. Received"):
        store.frozen().update(np.array([0]), np.array([1.0], "f"))
    store.update(np.array([0]), np.array([1.0], "f"))
    assert store.frozen().table()[0] == 0.5


@pytest.mark.parametrize("options", [CROSS_FIT, HELD_OUT], ids=["cross-fit", "held out"])
def test_the_run_s_refit_is_the_base_algorithm_on_all_labels(options):
    """Lambda at 1: to the bit the plain trainer on D and V, with the refit's seed."""
    config = make_config(**options)
    splits = load_splits(config)
    run = build(config, splits)
    every = splits if config.validation == "cross_fit" else with_validation_as_labels(splits)
    assert len(every.labeled) == len(splits.labeled) + len(splits.validation)
    assert sorted(map(tuple, run.splits.labeled.inputs)) == sorted(map(tuple, every.labeled.inputs))
    plain = make_config(**options | {"weighting": "fixed", "refit": False, "folds": 2})
    settings = building.settings_of(plain)
    store = weight_store(settings, len(splits.unlabeled))
    by_hand = building.single_of(plain)(settings, every, store, config.seed + 500).trainer
    alone = build(make_config(**options | {"weighting": "fixed", "folds": 2}), splits)
    assert isinstance(alone.trainer, BilevelTrainer) and alone.config.total_steps == 12
    for trainer in (run.trainer.refit, by_hand, alone.trainer):
        list(trainer.steps(12, by_threes))
    assert_equal(params_of(run.trainer.refit), params_of(by_hand))
    assert_equal(params_of(alone.trainer), params_of(by_hand))
    starts = [params_of(m) for m in build(config, splits).trainer.learning.members]
    fresh = params_of(build(config, splits).trainer.refit)
    for start in starts:
        assert any((a != b).any() for a, b in zip(start, fresh, strict=True)), "a seed of its own"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole run of three models and a refit, its summary, and what makes it anew."""
    out, workshop = tmp_path_factory.mktemp("refit") / "run", runs.Workshop()
    return out, runs.run(out, workshop, **CROSS_FIT), workshop


def test_killed_anywhere_and_resumed_it_is_the_same_run(finished, tmp_path, monkeypatch):
    out, _, workshop = finished
    places = (("train", 4), (BEFORE_REFIT, 12), ("train", 16), ("eval", 20), ("eval", 24))
    for kind, step in places:
        with monkeypatch.context() as patched:
            runs.at_line(kind, step, runs.after)(patched)
            with pytest.raises(runs.Killed):
                runs.run(tmp_path / "b", workshop, **CROSS_FIT)
    runs.run(tmp_path / "b", workshop, **CROSS_FIT)
    assert differences(out, tmp_path / "b") == []
    step, state = newest_checkpoint(out)
    assert step == 24 and sum(name.startswith("params/") for name in state) == 6, "one model's"


OTHERS = {
    "shuffled": CROSS_FIT | {"weighting": "shuffled", "folds": 2},
    "random, held out": HELD_OUT | {"weighting": "random"},
    "single, every step scored": HELD_OUT | {"weighting": "single", "score_every_step": True},
    "unrolled": HELD_OUT | {"inverse_hessian": "unrolled", "solve_iterations": 2},
    "stale, released": HELD_OUT | {"preset": "released"},
    "nothing learned": CROSS_FIT | {"weighting": "fixed", "folds": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_modes_resume_too(tmp_path, monkeypatch, name):
    options, workshop = OTHERS[name], runs.Workshop()
    summary = runs.run(tmp_path / "a", workshop, **options)
    last = make_config(**options).total_steps
    for step in sorted({last // 2, last - 4}):
        with monkeypatch.context() as patched:
            runs.at_line("train", step, runs.after)(patched)
            with pytest.raises(runs.Killed):
                runs.run(tmp_path / "b", workshop, **options)
    runs.run(tmp_path / "b", workshop, **options)
    assert differences(tmp_path / "a", tmp_path / "b") == []
    assert ("before_refit" in summary) == (last == 24)


def test_the_learning_is_the_run_without_a_refit(finished, tmp_path):
    out, summary, _ = finished
    alone = runs.run(tmp_path / "alone", **CROSS_FIT | {"refit": False})
    ours = [dict(line, kind="eval") for line in runs.lines(out) if line["kind"] == BEFORE_REFIT]
    theirs = [line for line in runs.lines(tmp_path / "alone") if line["kind"] == "eval"]
    assert json.dumps(ours) == json.dumps(theirs)
    assert summary["lam_quantiles"] == alone["lam_quantiles"]
    for name, value in summary["before_refit"].items():
        assert name.startswith("split_") or alone[name] == value, name
    learned, plain = before_refit(read_run(out, "r")), read_run(tmp_path / "alone", "r")
    assert learned.circumstances == plain.circumstances
    assert learned.split_without_u == plain.split_without_u is not None
    assert [dict(line, kind="eval") for line in learned.evals] == list(plain.evals)
    assert learned.config["config"] | {"out": ""} == plain.config["config"] | {"out": ""}
    assert before_refit(plain) is None


def test_no_number_of_the_refit_is_called_held_out(finished):
    out, summary, _ = finished
    evals = [line for line in runs.lines(out) if line["kind"] == "eval"]
    assert [line["step"] for line in evals] == [20, 24]
    for line in evals:
        assert line["validation_error"] is None and line["validation_loss"] is None
        assert "single_test_error" not in line and "lam_histogram" not in line
    errors = [line["test_error"] for line in evals]
    assert summary["test_error_median20"] == np.median(errors)
    assert summary["test_error_best_on_validation"] is None
    assert summary["method"] == "Pseudo-Label + Λ + cross-fit + refit"
    assert summary["before_refit"]["method"] == "Pseudo-Label + Λ + cross-fit"
    assert "single_test_error_median20" in summary["before_refit"]
    assert "single_test_error_median20" not in summary


def test_model_and_table_are_the_refit_s(finished):
    out, summary, _ = finished
    splits = load_splits(make_config(**CROSS_FIT))
    model = keras.models.load_model(out / "model.keras", compile=False, safe_mode=True)
    assert [v.shape for v in model.variables][-1] == (2,) and len(model.variables) == 6
    wrong = np.array(model(splits.test.inputs)["logits"]).argmax(1) != splits.test.labels
    assert 100 * wrong.mean() == pytest.approx(summary["test_error_last"])
    table = pd.read_parquet(out / "example_weights.parquet")
    log_p = log_softmax(np.array(model(splits.unlabeled.inputs)["logits"], np.float64))
    assert list(table.pseudo_label) == list(log_p.argmax(1))
    np.testing.assert_allclose(table.confidence, np.exp(log_p.max(1)), rtol=1e-5)
    assert (table.lam != 1).any()


def test_the_report_has_a_row_for_either(finished, tmp_path):
    out, summary, _ = finished
    base = tmp_path / "base"
    runs.run(base, **CROSS_FIT | {"weighting": "fixed", "folds": 2})
    (tmp_path / "learned").symlink_to(out)
    found = [r for folder in (out, base) for r in collect_runs(folder).rows]
    (setting,), remarks = group_runs(found)
    assert not remarks
    errors = {m.label: m.runs[0].summary.test_error_median20 for m in setting.methods}
    assert errors == {
        "Pseudo-Label + all labels": read_run(base, "b").summary.test_error_median20,
        "Pseudo-Label + Λ + cross-fit": summary["before_refit"]["test_error_median20"],
        "Pseudo-Label + Λ + cross-fit + refit": summary["test_error_median20"],
    }
    pairs = [c for c in compare_setting(setting) if c.role is Role.BASE]
    refit = next(c for c in pairs if c.method.label.endswith("refit"))
    assert refit.reference.label == "Pseudo-Label + all labels" and not refit.unlike


def test_a_refit_after_a_held_out_v_is_paired_with_v_as_labels(tmp_path):
    options = {name: value for name, value in HELD_OUT.items() if name != "refit"}
    runs.run(tmp_path / "refit", **HELD_OUT)
    runs.run(
        tmp_path / "as_labels", **options | {"weighting": "fixed", "validation_as_labels": True}
    )
    runs.run(tmp_path / "base", **options | {"weighting": "fixed"})
    (setting,), _ = group_runs(collect_runs(tmp_path).rows)
    pairs = {c.method.label: c for c in compare_setting(setting) if c.role is Role.BASE}
    refit = pairs["Pseudo-Label + Λ + refit + V as labels"]
    assert refit.reference.label == "Pseudo-Label + V as labels" and not refit.unlike
    assert pairs["Pseudo-Label + Λ"].reference.label == "Pseudo-Label"
    assert not pairs["Pseudo-Label + Λ"].unlike


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"refit": True, "validation_as_labels": True}, "nothing is held out. Leave out one of"),
        ({"folds": 1, "validation": "cross_fit"}, "--folds must be 2 or more. Received: 1"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_config(dataset="moons", **options)


def test_folds_without_a_cross_fit_are_refused():
    for options in ({}, {"validation": "cross_fit", "refit": True, "weighting": "fixed"}):
        with pytest.raises(ValueError, match="--folds would do nothing here: it needs --valid"):
            refuse_without_effect(make_config(dataset="moons", **options), ["folds"])


def test_more_folds_than_labels_are_refused():
    config = make_config(**runs.MOONS | {"validation": "cross_fit", "folds": 11})
    with pytest.raises(ValueError, match=r"`folds` must be at most .* folds=11 with 10 labels"):
        build(config, load_splits(config))


def test_work_and_steps_of_a_run_with_a_refit():
    config = make_config(**CROSS_FIT)
    assert (config.learning_steps, config.total_steps) == (12, 24)
    assert [config.model_steps(step) for step in (0, 5, 12, 13, 24)] == [0, 15, 36, 37, 48]
    plain = make_config(**runs.MOONS)
    assert [plain.model_steps(step) for step in (0, 5, 12)] == [0, 5, 12]
