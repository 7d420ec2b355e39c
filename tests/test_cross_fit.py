"""Two models that validate each other: one Lambda, moved by the mean of their influences."""

import keras
import numpy as np
import pytest
import runs
import tensorflow as tf
from scipy import stats
from tiny import NUM_UNLABELED, make_trainer

from experiments.assemble.build import load_splits
from experiments.options.deviations import deviations
from experiments.options.presets import make_config
from experiments.runs.record import read_run
from experiments.study.rows import row_of
from ssl_weighting.bilevel import BilevelSettings
from ssl_weighting.cross_fit import CrossFitTrainer, Ensemble
from ssl_weighting.data.folds import cross_fit_folds
from ssl_weighting.data.synthetic import SyntheticConfig, load_synthetic
from ssl_weighting.evaluation import log_softmax
from ssl_weighting.weight_store import WeightStore


def pair(count=2, **options):
    """Return a CrossFitTrainer on nets of the tiny problem whose Lambda moves by SGD."""
    store = WeightStore(NUM_UNLABELED, "per_example", keras.optimizers.SGD(0.5))
    members = [make_trainer(seed=seed, store=store, **options) for seed in range(count)]
    return CrossFitTrainer(members)


def test_halves_share_no_label_and_have_every_class():
    splits = load_synthetic(SyntheticConfig("moons", num_labeled=13, num_unlabeled=20, num_test=4))
    first, second = cross_fit_folds(splits, 1)
    assert sorted(map(len, (first.labeled, second.labeled))) == [6, 7]
    for one, other in ((first, second), (second, first)):
        assert np.array_equal(one.validation.inputs, other.labeled.inputs)
        assert np.array_equal(one.validation.labels, other.labeled.labels)
        assert one.unlabeled is splits.unlabeled
        assert set(one.labeled.labels) == {0, 1}
        assert abs(np.bincount(one.labeled.labels) - np.bincount(other.labeled.labels)).max() <= 1
    together = np.concatenate([first.labeled.inputs, second.labeled.inputs])
    assert sorted(map(tuple, together)) == sorted(map(tuple, splits.labeled.inputs))
    again, other_seed = (cross_fit_folds(splits, seed)[0] for seed in (1, 2))
    assert np.array_equal(again.labeled.inputs, first.labeled.inputs)
    assert not np.array_equal(other_seed.labeled.inputs, first.labeled.inputs)


def test_a_class_with_one_label_is_refused():
    splits = load_synthetic(SyntheticConfig("moons", num_labeled=2, num_unlabeled=20, num_test=4))
    with pytest.raises(ValueError, match=r"two labels, or .* Received: fewer of 0 \(1\), 1 \(1\)"):
        cross_fit_folds(splits, 1)


def rows(examples):
    return sorted(map(tuple, np.c_[examples.inputs, examples.labels]))


@pytest.mark.parametrize("folds", [2, 3, 5, 13])
def test_folds_are_a_stratified_partition_of_the_labels(folds):
    splits = load_synthetic(SyntheticConfig("moons", num_labeled=13, num_unlabeled=20, num_test=4))
    found = cross_fit_folds(splits, 1, folds)
    everything, held = rows(splits.labeled), []
    for one in found:
        assert rows(one.labeled) == sorted(set(everything) - set(rows(one.validation)))
        assert set(one.labeled.labels) == {0, 1} and one.test is splits.test
        held += rows(one.validation)
    assert sorted(held) == everything and len(found) == folds, "each label is left out once"
    sizes = [np.bincount(one.validation.labels, minlength=2) for one in found]
    assert np.ptp(sizes, axis=0).max() <= 1 and np.ptp(np.sum(sizes, axis=1)) <= 1
    with pytest.raises(ValueError, match=r"`folds` must be at most .* folds=14 with 13 labels"):
        cross_fit_folds(splits, 1, 14)
    with pytest.raises(ValueError, match="`folds` must be"):
        cross_fit_folds(splits, 1, 1)


def test_lambda_moves_by_the_mean_of_all_influences():
    trainer = pair(3)
    trainer.train(4)
    assert [member.step for member in trainer.members] == [4, 4, 4]
    assert (trainer.step, trainer.next_pause()) == (4, 8)
    before, found = trainer.store.table().numpy(), [m.measure() for m in trainer.members]
    report = trainer.lambda_step()
    expected = before.astype(np.float64)
    for measured in found:
        expected[measured.ids.numpy()] -= 0.5 * measured.lam_gradient.numpy().astype("d") / 3
    np.testing.assert_allclose(trainer.store.table().numpy(), np.maximum(expected, 0), atol=1e-7)
    scores = [measured.lam_gradient.numpy() for measured in found]
    pairs = [stats.spearmanr(scores[a], scores[b]).statistic for a, b in ((0, 1), (0, 2), (1, 2))]
    assert report["members_spearman"] == pytest.approx(np.mean(pairs), abs=1e-6)
    assert np.ptp(pairs) > 1e-3, "or one pair would do"
    losses = [measured.report["validation_loss"] for measured in found]
    assert report["validation_loss"] == pytest.approx(np.mean(losses)) and np.ptp(losses) > 0
    assert [member.lambda_steps for member in trainer.members] == [1, 1, 1]
    assert set(trainer.store.visits.numpy()) == {0, 1}, "scored by each, moved once"


def test_a_member_without_a_solution_has_no_say(monkeypatch):
    trainer = pair()
    found = [member.measure() for member in trainer.members]
    found[0].report["skipped"] = True
    for member, measured in zip(trainer.members, found, strict=True):
        monkeypatch.setattr(member, "measure", lambda measured=measured: measured)
    assert not trainer.lambda_step()["skipped"]
    moved = trainer.store.table().numpy()[found[1].ids.numpy()]
    assert np.allclose(moved, np.maximum(1 - 0.5 * found[1].lam_gradient.numpy(), 0), atol=1e-7)
    found[1].report["skipped"] = True
    assert trainer.lambda_step()["skipped"]
    assert np.array_equal(trainer.store.table().numpy()[found[1].ids.numpy()], moved)


def test_unfit_members_are_refused():
    with pytest.raises(ValueError, match=r"at least two trainers. Received: 1"):
        CrossFitTrainer([make_trainer()])
    with pytest.raises(ValueError, match="share one weight store"):
        CrossFitTrainer([make_trainer(), make_trainer()])
    with pytest.raises(ValueError, match="without `score_every_step` and `stale_w`"):
        pair(settings=BilevelSettings(inner_steps=4, stale_w=True))
    for option in ("score_every_step", "stale_w"):
        with pytest.raises(ValueError, match="--validation=cross_fit scores with several models"):
            make_config(validation="cross_fit", **{option: True})


def test_an_ensembles_probabilities_are_the_mean():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 5, 3)).astype("f")

    class Fixed:
        batch_size = 5

        def __init__(self, values):
            self.values = values

        def logits(self, inputs, use_ema=True):
            return self.values + (0 if use_ema else 1000 * inputs)

    ensemble = Ensemble([Fixed(values) for values in logits])
    mean = np.exp(log_softmax(logits.astype("d"))).mean(axis=0)
    assert np.allclose(np.exp(ensemble.logits(np.zeros([5, 1]))), mean, atol=1e-6)
    far = ensemble.logits(np.eye(5, 3), use_ema=False)
    assert np.isfinite(far).all(), "hopeless classes underflow in plain probabilities"


def test_a_run_reports_the_ensemble_and_its_members(tmp_path):
    options = runs.MOONS | {"validation": "cross_fit"}
    summary = runs.run(tmp_path, **options)
    assert summary["method"] == "Pseudo-Label + Λ + cross-fit" and summary["val_size"] == 0
    evals = [line for line in runs.lines(tmp_path) if line["kind"] == "eval"]
    for line in evals:
        assert line["single_test_error"] == pytest.approx(np.mean(line["single_test_errors"]))
    assert len({error for line in evals for error in line["single_test_errors"]}) > 1
    errors = [line["single_test_error"] for line in evals]
    assert summary["single_test_error_median20"] == pytest.approx(np.median(errors))
    line = row_of(read_run(tmp_path, "r"), ("f", "cross_fit", 1), "hash")
    assert line.single_test_error == pytest.approx(summary["single_test_error_median20"], rel=1e-5)
    assert line.lambda_steps == 3 and -1 <= line.medians["members_spearman"] <= 1
    assert sum(found[0] for found in line.lam_by_group.values()) == line.num_unlabeled
    test = load_splits(make_config(**options)).test
    model = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    p = keras.ops.convert_to_numpy(
        keras.ops.softmax(model(tf.constant(test.inputs), training=False)["logits"])
    )
    error = 100 * np.mean(p.argmax(1) != test.labels)
    assert error == pytest.approx(summary["test_error_last"]), "model.keras is the ensemble"
    assert any("cross-fit" in text for text in deviations(make_config(**options)))
