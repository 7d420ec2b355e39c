"""WeightedSSLClassifier: the numbers of the program, rows and labels of all kinds, global state."""

import pickle
import random
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf
from feature_files import arrays, write_npz
from places import ROOT
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments.options.own import own_config
from experiments.runs import execute as running
from ssl_weighting import WeightedSSLClassifier
from ssl_weighting.estimator import ALGORITHMS

SETS = arrays()
X, Y, U = SETS["x_train"], SETS["y_train"], SETS["x_unlabeled"]
TINY = {
    "steps": 12, "inner_steps": 3, "lambda_warmup_steps": 3, "labeled_batch": 6,
    "unlabeled_ratio": 2, "ramp_steps": 0,
}  # fmt: skip
SHORT = {"steps": 6, "inner_steps": 2, "lambda_warmup_steps": 1, "labeled_batch": 4}


def estimator(options=None, **parameters):
    """Return one that trains for a moment; without `options` a single model, built in a second."""
    single = {} if options else {"validation": 0.3, "refit": False}
    return WeightedSSLClassifier(
        options=options or SHORT, **{"random_state": 3} | single | parameters
    )


def marked():
    """Return all rows in one array, unlabeled ones among the others, and y with -1."""
    order = np.random.default_rng(0).permutation(len(X) + len(U))
    y = np.concatenate([Y, np.full(len(U), -1)])
    return np.concatenate([X, U])[order], y[order], order


def run_of(tmp_path, sets, **options):
    """Return the net and λ of `train_features` --recipe=own, its default, with the options."""
    dataset = write_npz(tmp_path / "f.npz", **sets)
    asked = {"dataset": dataset, "out": str(tmp_path / "run"), "seed": 3} | TINY | options
    running.execute(own_config(asked), "train_features")
    net = keras.models.load_model(tmp_path / "run" / "model.keras", compile=False)
    table = pd.read_parquet(tmp_path / "run" / "example_weights.parquet")
    return net, table.set_index("name").loc[[f"x_unlabeled[{k}]" for k in range(len(U))]]


OF_V = arrays(n=15, seed=1)
WAYS = {
    "cross-fit and refit": ({}, {}),
    "fraction": (
        {"validation": 0.25}, {"validation": "held_out", "val_size": 15, "val_seed": 3},
    ),
    "given, mlp": (
        {"validation": (OF_V["x_train"], OF_V["y_train"]), "head": "mlp"}, {"head": "mlp"},
    ),
    "components": ({"options": TINY | {"components": 3}}, {"components": 3}),
    "mean teacher, single, no refit": (
        {"algorithm": "mean_teacher", "weighting": "single", "validation": 0.2, "refit": False},
        {
            "algorithm": "mean_teacher", "weighting": "single", "validation": "held_out",
            "val_size": 12, "val_seed": 3, "refit": False,
        },
    ),
}  # fmt: skip
FIRST, *OTHERS = WAYS


@pytest.mark.parametrize("way", [FIRST, *(pytest.param(w, marks=pytest.mark.slow) for w in OTHERS)])
def test_the_numbers_are_the_program_s_to_the_bit(way, tmp_path):
    parameters, options = WAYS[way]
    model, sets = estimator(**{"options": TINY} | parameters), dict(SETS)
    if way.startswith("given"):
        sets |= {"x_validation": OF_V["x_train"], "y_validation": OF_V["y_train"]}
    model.fit(X, Y, U)
    net, table = run_of(tmp_path, sets, **options)
    (head,) = model._heads
    mine = [part for layer in head.layers for part in layer]
    for ours, theirs in zip(mine, net.trainable_variables, strict=True):
        np.testing.assert_array_equal(ours, theirs.numpy())
    np.testing.assert_array_equal(model.example_weights_, table.lam)
    np.testing.assert_array_equal(model.visits_, table.visits)
    np.testing.assert_array_equal(model.influence_, table.influence_mean)
    np.testing.assert_array_equal(model.influence_error_, table.influence_error)
    assert (model.example_weights_ != 1).all() and (model.visits_ == 2).all()
    logits = np.array(net(SETS["x_test"])["logits"], float)
    np.testing.assert_allclose(head.logits(SETS["x_test"]), logits, atol=1e-5)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(SETS["x_test"]), p, atol=1e-5)


def test_a_head_on_components_is_the_program_s(tmp_path):
    model = estimator(TINY | {"components": 3}, validation=0.25, refit=False).fit(X, Y, U)
    held_out = {"validation": "held_out", "val_size": 15, "val_seed": 3, "refit": False}
    net, table = run_of(tmp_path, SETS, components=3, **held_out)
    (head,) = model._heads
    ((kernel, _),) = head.layers
    assert kernel.shape == (3, len(model.classes_))
    # Not to the bit: sums of a product of matrices depend on where these lie in memory.
    np.testing.assert_allclose(kernel, net.trainable_variables[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(model.example_weights_, table.lam, atol=1e-2)
    logits = np.array(net(SETS["x_test"])["logits"], float)
    np.testing.assert_allclose(head.logits(SETS["x_test"]), logits, atol=1e-3)


@pytest.fixture(scope="module")
def fitted():
    return estimator(TINY).fit(X, Y, U)


SINGLE = {"options": TINY, "validation": 0.3, "refit": False}  # of `fitted`, one model of four


@pytest.fixture(scope="module")
def single():
    return estimator(**SINGLE).fit(X, Y, U)


def test_rows_that_y_marks_are_the_rows_of_x_unlabeled(fitted, single):
    x, y, order = marked()
    other = estimator(**SINGLE).fit(x, y.astype(float))
    place = np.argsort(order)  # where each row of X and then of U went
    of_x, of_u = place[: len(X)], place[len(X) :]
    # D, and U's first part, stand in another order: other batches, but the same rows.
    assert np.isnan(other.example_weights_[of_x]).all() and (other.visits_[of_x] == 0).all()
    assert np.isnan(other.influence_[of_x]).all()
    assert (other.visits_[of_u] == 2).all() and (other.example_weights_[of_u] != 1).all()
    assert (other.pseudo_labels_[of_x] == Y).all()
    assert (other.pseudo_labels_[of_u] == other.predict(U)).all()
    assert (fitted.pseudo_labels_ == fitted.predict(U)).all()
    at_the_end = estimator(**SINGLE).fit(np.concatenate([X, U]), np.r_[Y, np.full(len(U), -1)])
    np.testing.assert_array_equal(at_the_end.example_weights_[len(X) :], single.example_weights_)
    np.testing.assert_array_equal(at_the_end.predict_proba(U), single.predict_proba(U))


def test_the_history_tells_of_both_phases(fitted):
    kinds = [(entry["phase"], entry["kind"]) for entry in fitted.history_]
    assert kinds.count(("learning", "lambda")) == 2 and ("refit", "train") in kinds
    assert ("refit", "lambda") not in kinds
    assert [e["step"] for e in fitted.history_ if e["kind"] == "train"] == list(range(1, 25))
    assert all(np.isfinite(e["loss"]) for e in fitted.history_ if e["kind"] == "train")


def test_labels_may_be_strings_and_columns_have_names(single):
    names = np.array(["cat", "dog", "owl"])
    frame = pd.DataFrame(X, columns=[f"f{k}" for k in range(X.shape[1])])
    unlabeled = pd.DataFrame(U, columns=frame.columns)
    model = estimator(**SINGLE).fit(frame, pd.Series(names[Y]), unlabeled)
    assert model.classes_.tolist() == names.tolist()
    assert model.feature_names_in_.tolist() == frame.columns.tolist()
    np.testing.assert_array_equal(model.example_weights_, single.example_weights_)
    assert (model.predict(unlabeled) == names[single.predict(U)]).all()
    assert (model.pseudo_labels_ == names[single.pseudo_labels_]).all()
    x, y, _ = marked()
    y = np.array([names[label] if label >= 0 else -1 for label in y], object)
    mixed = estimator().fit(x, y)
    assert mixed.classes_.tolist() == names.tolist() and set(mixed.predict(x)) <= set(names)
    assert mixed.score(x, y) == np.mean(mixed.predict(x)[y != -1] == y[y != -1])
    with pytest.raises(ValueError, match="must have labels to compare with"):
        mixed.score(x[:2], np.array([-1, -1]))


def test_minus_one_is_a_class_where_unlabeled_rows_are_given_apart():
    model = estimator().fit(X, np.where(Y == 0, -1, 1), U)
    assert model.classes_.tolist() == [-1, 1]
    assert model.score(X, np.where(Y == 0, -1, 1)) == np.mean(
        model.predict(X) == np.where(Y == 0, -1, 1)
    )


def test_without_unlabeled_rows_or_learned_weights_one_model_has_all_labels():
    alone = estimator().fit(X, Y)
    assert np.isnan(alone.example_weights_).all() and alone.example_weights_.shape == (len(X),)
    supervised = estimator(algorithm="supervised", validation=0.5).fit(X, Y, U)
    assert np.isnan(supervised.example_weights_).all() and len(supervised._heads) == 1
    fixed = estimator(weighting="fixed", algorithm="fixmatch").fit(X, Y, U)
    assert (fixed.example_weights_ == 1).all() and np.isnan(fixed.influence_).all()
    # One label a class suffices where none has to validate.
    assert estimator().fit(X[:3], Y[:3]).classes_.tolist() == [0, 1, 2]


def test_without_a_refit_no_model_learns_from_a_v_that_was_given():
    def probabilities(labels, **parameters):
        v = OF_V["x_train"], labels
        return (
            estimator(weighting="fixed", validation=v, **parameters).fit(X, Y, U).predict_proba(X)
        )

    labels, others = OF_V["y_train"], (OF_V["y_train"] + 1) % 3
    found = [probabilities(one, refit=False) for one in (labels, others)]
    np.testing.assert_array_equal(*found)
    found = [probabilities(one, refit=True) for one in (labels, others)]
    assert (found[0] != found[1]).any()


@pytest.mark.slow
def test_every_algorithm_trains_with_the_recipe():
    """MixMatch goes by the labeled batch, also in its Lambda-steps."""
    for algorithm in ALGORITHMS:
        model = estimator(SHORT | {"labeled_batch": 7}, algorithm=algorithm).fit(X, Y, U)
        assert np.isfinite(model.predict_proba(U)).all()
        assert algorithm == "supervised" or (model.visits_ > 0).mean() > 0.8


def test_copies_of_what_validates_have_no_weight():
    copied = np.concatenate([U, OF_V["x_train"][:2], U[:1]])
    model = estimator(validation=(OF_V["x_train"], OF_V["y_train"])).fit(X, Y, copied)
    assert np.isnan(model.example_weights_[len(U) : len(U) + 2]).all()
    assert np.isfinite(np.delete(model.example_weights_, [len(U), len(U) + 1])).all()
    with_two_labels = estimator().fit(np.r_[X, X[:1]], np.r_[Y, (Y[:1] + 1) % 3], U)
    assert len(with_two_labels.example_weights_) == len(U)


def test_equal_seeds_give_equal_models_and_nothing_global_changes(single):
    keras.utils.set_random_seed(5)
    expected = np.array(tf.random.uniform([3])), np.array(keras.random.uniform([3]))
    keras.utils.set_random_seed(5)
    before = np.random.get_state()[1].copy(), random.getstate()
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    again = estimator(**SINGLE).fit(X.astype(np.float64), Y, U.astype(np.float64))
    np.testing.assert_array_equal(again.predict_proba(X), single.predict_proba(X))
    other = estimator(**SINGLE, random_state=None).fit(X, Y, U)
    assert np.array_equal(np.random.get_state()[1], before[0]) and random.getstate() == before[1]
    assert (keras.config.dtype_policy(), keras.config.floatx()) == (policy, floatx)
    found = np.array(tf.random.uniform([3])), np.array(keras.random.uniform([3]))
    np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(other.predict_proba(X), again.predict_proba(X))
    drawn = [estimator(random_state=np.random.RandomState(k))._seed() for k in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_it_is_one_of_scikit_learn_s_own(fitted):
    assert clone(fitted).get_params() == fitted.get_params()
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    assert len(pickle.dumps(fitted)) < 100_000, "numbers, no net"


@pytest.mark.slow
def test_a_search_over_partly_labeled_rows_in_a_pipeline():
    x, y, _ = marked()
    grid = {"weightedsslclassifier__weighting": ["fixed", "per_example"]}
    search = GridSearchCV(make_pipeline(StandardScaler(), estimator()), grid, cv=2)
    search.fit(x, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict_proba(x).shape == (len(x), 3)


def test_a_fitted_model_predicts_in_a_process_without_tensorflow(fitted):
    code = """
import pickle, sys
model, x = pickle.load(sys.stdin.buffer)
print(*model.predict_proba(x).ravel().tolist(), "tensorflow" in sys.modules)"""
    given = {"input": pickle.dumps((fitted, X[:2])), "cwd": ROOT}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, **given)
    *found, loaded = said.stdout.decode().split()
    expected = fitted.predict_proba(X[:2]).ravel().tolist()
    assert [float(p) for p in found] == expected and loaded == "False"


BAD = [
    ({}, {"y": np.zeros(60, int)}, "Received: one class, "),
    ({}, {"y": np.full(60, -1), "u": None}, "unlabeled, for all 60 rows"),
    ({}, {"y": np.where(Y == 1, 1, -1), "u": None}, "one class, 1, and -1, which marks rows"),
    ({}, {"y": np.array([None, *"abc" * 19, *"ab"], object), "u": None}, "-1 marks .*: None"),
    ({}, {"y": np.r_[["-1"], Y[1:].astype(str)], "u": None}, "with the number -1"),
    ({}, {"y": Y + 0.5}, "continuous"),
    ({}, {"y": np.r_[np.zeros(59, int), 1]}, "two labels of every class"),
    ({}, {"u": np.where(np.arange(6) == 2, np.nan, U)}, "NaN"),
    ({}, {"u": U[:, :4]}, "4 features"),
    ({}, {"x": X.astype(float) * 1e300}, "too large for dtype"),
    ({}, {"x": scipy.sparse.csr_matrix(X)}, "[Ss]parse"),
    ({"algorithm": "remixmatch"}, {}, "`algorithm` must be one of supervised, pseudo_label"),
    ({"weighting": "oracle"}, {}, "`weighting` must be one of zero, fixed"),
    ({"head": "deep"}, {}, "`head` must be one of linear, mlp"),
    ({"validation": 1.5}, {}, "a share of the labels between 0 and 1"),
    ({"validation": (X, Y + 1)}, {}, r"labels among those of `y`, \[0, 1, 2\]. Received: 3"),
    ({"validation": (X, Y[1:])}, {}, "with one label a row. Received: 60 rows"),
    ({"validation": 0.99}, {}, "must leave every class a label|must be 0, or from 3"),
    ({"folds": 1, "validation": "cross_fit"}, {}, "folds"),
    ({"time_budget": 0}, {}, "seconds greater than 0"),
    ({"time_budget": 1, "options": {"wu": 2.0}}, {}, "`time_budget` must be at least [0-9]+ sec"),
    ({"random_state": -1}, {}, "`random_state` must be None, an int"),
    ({"options": {"seed": 1}}, {}, "`options` must have no seed"),
    ({"options": {"step": 1}}, {}, "must be among .*steps"),
    ({"options": {"threshold": 2}}, {}, "`threshold` must be"),
    ({"options": ["steps"]}, {}, "`options` must be None or a dict"),
    ({"options": {"steps": 0}, "weighting": "fixed"}, {}, "`steps` must be >= 1"),
    ({"options": {"steps": "9"}}, {}, "`steps` must be a whole number"),
    ({"options": SHORT | {"optimizer": "sdg"}}, {}, "`optimizer` must be one of nesterov"),
    ({"options": SHORT | {"lambda_optimizer": "sdg"}}, {}, "`lambda_optimizer` must be one of"),
    ({"options": SHORT | {"feature_views": "mix"}}, {}, "`feature_views` must be one of auto"),
    ({"options": SHORT | {"uda_version": "2021"}, "algorithm": "uda"}, {}, "`uda_version` must"),
]


@pytest.mark.parametrize(("parameters", "given", "message"), BAD)
def test_what_does_not_fit_is_refused(parameters, given, message):
    given = {"x": X, "y": Y, "u": U} | given
    with pytest.raises((ValueError, TypeError), match=message):
        estimator(**parameters).fit(given["x"], given["y"], given["u"])


def test_verbose_tells_of_the_progress(capsys):
    estimator(SHORT, validation=0.3, verbose=1).fit(X, Y, U)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("step 12 of 12, refit: loss ") and any("Λ-step" in x for x in lines)
