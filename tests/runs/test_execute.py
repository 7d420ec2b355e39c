"""What a run leaves behind, recomputed; every mode and switch runs to its end."""

import json
import math

import keras
import numpy as np
import pandas as pd
import pytest
import runs
import tensorflow as tf
from runs import DIGITS, MOONS, lines

from experiments.assemble.build import load_splits
from experiments.compare_runs import newest_checkpoint
from experiments.options.presets import make_config
from experiments.runs import results
from experiments.runs.record import read_run
from ssl_weighting.algorithms import ALGORITHMS
from ssl_weighting.data.images.augmentation import clean_view
from ssl_weighting.weight_store import LEARNED, MODES

RUN_FILES = {
    "config.json", "metrics.jsonl", "timing.jsonl", "example_weights.parquet", "model.keras",
    "summary.json", "checkpoints", "tensorboard",
}  # fmt: skip
SHORT = {"steps": 6, "eval_every": 3, "checkpoint_every": 3, "inner_steps": 2, "log_every": 2}


@pytest.fixture(scope="module")
def folder():
    return runs.unbroken_run()[0]


@pytest.fixture(scope="module")
def run(folder):
    return runs.unbroken_run()[1].run


@pytest.fixture(scope="module")
def splits():
    return load_splits(make_config(**DIGITS))


@pytest.fixture(scope="module")
def table(folder):
    return pd.read_parquet(folder / "example_weights.parquet")


@pytest.fixture(scope="module")
def model(folder):
    return keras.models.load_model(folder / "model.keras", compile=False, safe_mode=True)


@pytest.fixture(scope="module")
def state(folder):
    return {k.rpartition("/")[2]: v for k, v in newest_checkpoint(folder)[1].items()}


def strict(path):
    return json.loads(path.read_text(), parse_constant=runs.refuse)


def test_the_folder_is_complete(folder):
    more = {"extreme_examples.npz", "lambda_history.npz", "scorer"}
    assert {path.name for path in folder.iterdir()} == RUN_FILES | more


def test_the_record_reads_all_that_a_run_wrote(folder, table):
    record = read_run(folder, "r")
    assert record.remarks == () and record.extremes is not None
    assert {"train"} | {line["kind"] for line in (*record.evals, *record.lambdas)} == {
        line["kind"] for line in lines(folder)
    }
    np.testing.assert_array_equal(record.weights["lam"], table.lam)


def test_config_json(folder, splits):
    found, config = strict(folder / "config.json"), make_config(**DIGITS, out=str(folder))
    assert found["program"] == "train_images" and found["dataset"] == "digits"
    assert found["config"].keys() == vars(config).keys()
    for name, value in vars(config).items():
        assert found["config"][name] == ("inf" if value == math.inf else value), name
    assert found["split_hash"] == splits.split_hash and found["source"] == splits.source
    assert found["class_names"] == list("0123456789") and found["input_shape"] == [8, 8, 1]
    assert {"python", "tensorflow", "keras", "numpy", "ssl_weighting"} == found["versions"].keys()
    assert "DEVIATION: steps 24 instead of 1048576" in found["deviations"]


def test_metrics_have_the_keys_of_their_kind(folder):
    keys = {
        "train": {"loss", "loss_labeled", "loss_unlabeled", "mask_rate", "learning_rate"},
        "lambda": {
            "lam_quantiles", "lam_mean", "coverage", "influence_abs_mean", "hessian_over_damping",
            "cosine_exact_identity", "skipped",
        },
        "eval": {
            "test_error", "test_loss", "validation_error", "validation_loss", "lam_histogram",
        },
    }  # fmt: skip
    assert sum("raw_test_error" in line for line in lines(folder)) == 1
    for line in lines(folder):
        assert keys[line["kind"]] <= line.keys(), line["kind"]
        assert all(
            v is None or isinstance(v, int | float | str | list | dict) for v in line.values()
        )


def test_metrics_hold_no_times_and_timing_does(folder):
    assert not any("second" in key or "share" in key for x in lines(folder) for key in x)
    timing = lines(folder, "timing.jsonl")
    assert [x["step"] for x in timing] == [x["step"] for x in lines(folder) if x["kind"] == "train"]
    for name in ("elapsed_seconds", "theta_seconds", "lambda_seconds"):
        values = [x[name] for x in timing]
        assert values == sorted(values) and values[-1] > 0
    assert all(0 <= x["lambda_share"] <= 1 for x in timing)


def test_learning_rate_and_losses_are_those_of_the_recipe(folder):
    train = [x for x in lines(folder) if x["kind"] == "train"]
    for x in train:
        expected = 0.03 * math.cos(7 * math.pi / 16 * x["step"] / 24)
        assert x["learning_rate"] == pytest.approx(expected, rel=1e-5)
        assert x["mask_rate"] == 1  # threshold 0
        assert x["loss"] > x["loss_labeled"] > 0, "weight decay is part of it"


def test_last_evaluation_is_the_saved_model_s(folder, model, splits):
    last = [x for x in lines(folder) if x["kind"] == "eval"][-1]
    for part, examples in (("test", splits.test), ("validation", splits.validation)):
        z = model(clean_view(examples.inputs), training=False)["logits"].numpy().astype(float)
        assert last[f"{part}_error"] == pytest.approx(100 * np.mean(z.argmax(1) != examples.labels))
        log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
        loss = -log_p[np.arange(len(z)), examples.labels].mean()
        assert last[f"{part}_loss"] == pytest.approx(loss, rel=1e-4)


def test_histograms_count_every_example(folder, state):
    for line in lines(folder):
        if line["kind"] == "eval":
            edges, counts = line["lam_histogram"]["edges"], line["lam_histogram"]["counts"]
            assert len(edges) == len(counts) + 1 and sum(counts) == 40
            assert edges == sorted(edges)
    lam = state["lam"].astype(float)
    assert (edges[0], edges[-1]) == (pytest.approx(lam.min()), pytest.approx(lam.max()))


def test_example_weights_columns(table):
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == {
        "id": "int64", "lam": "float32", "visits": "int32", "pseudo_label": "int32",
        "confidence": "float32", "loss": "float32", "true_label": "int32",
        "last_influence": "float32", "labeled": "bool", "influence": "float64", "name": "str",
        "source": "str", "influence_mean": "float64", "influence_error": "float64",
        "suspect": "bool",
    }  # fmt: skip
    assert table.id.tolist() == list(range(40))


def test_labeled_examples_of_u_are_marked_and_influences_are_m_adam_s(table, state, splits):
    labeled = {row.tobytes() for row in splits.labeled.inputs}
    expected = [row.tobytes() in labeled for row in splits.unlabeled.inputs]
    assert table.labeled.tolist() == expected and 0 < sum(expected) < 40
    assert (table.source == "labeled").tolist() == expected
    np.testing.assert_array_equal(table.influence, state["lam_m"].astype(float))


def test_example_weights_are_the_state_and_the_model_s_predictions(
    table, state, model, splits, run
):
    for name in ("lam", "visits", "last_influence"):
        np.testing.assert_array_equal(table[name], state[name])
    assert table.name.tolist() == splits.unlabeled.names.tolist()
    np.testing.assert_array_equal(table.true_label, splits.unlabeled.labels)
    p = keras.ops.softmax(model(clean_view(splits.unlabeled.inputs), training=False)["logits"])
    p = p.numpy().astype(float)
    np.testing.assert_array_equal(table.pseudo_label, p.argmax(1))
    np.testing.assert_allclose(table.confidence, p.max(1), rtol=1e-5)
    views = run.trainer.source.strong_views(np.arange(40))
    q = keras.ops.softmax(model(views, training=False)["logits"]).numpy().astype(float)
    np.testing.assert_allclose(table.loss, -np.log(q[np.arange(40), p.argmax(1)]), rtol=1e-4)
    assert np.isnan(table.last_influence[table.visits == 0]).all()


def test_extreme_examples_are_the_ends_of_the_order(folder, table, splits):
    with np.load(folder / "extreme_examples.npz", allow_pickle=False) as file:
        found = dict(file)
    chosen = table[(table.visits > 0) & ~table.labeled]
    for end, rows in (
        ("down", chosen[chosen.influence_mean > 0].sort_values("influence_mean", ascending=False)),
        ("up", chosen[chosen.influence_mean < 0].sort_values("influence_mean")),
    ):
        assert len(rows) > 0 or end == "up"  # in so short a run all of U harms
        np.testing.assert_array_equal(found[f"{end}_ids"], rows.id[: results.GALLERY])
        np.testing.assert_array_equal(
            found[f"{end}_images"], splits.unlabeled.inputs[found[f"{end}_ids"]]
        )


def test_the_saved_model_is_the_average(model, state, folder):
    _, everything = newest_checkpoint(folder)
    averages = [v for k, v in everything.items() if k.startswith("ema/")]
    raw = [v for k, v in everything.items() if k.startswith("params/")]
    for found, average in zip(model.trainable_variables, averages, strict=True):
        np.testing.assert_array_equal(found.numpy(), average)
    statistics = [v for k, v in everything.items() if k.startswith("non_trainable/")]
    for found, value in zip(model.non_trainable_variables, statistics, strict=True):
        np.testing.assert_array_equal(found.numpy(), value)
    assert any((a != b).any() for a, b in zip(raw, averages, strict=True))


def test_saving_the_average_leaves_the_trained_parameters(run, tmp_path):
    before = [v.numpy() for v in run.trainer.model.variables]
    results._save_averaged_model(run, tmp_path / "model.keras")
    after = [v.numpy() for v in run.trainer.model.variables]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]


def test_summary(folder, table, splits):
    found = strict(folder / "summary.json")
    evals = [x for x in lines(folder) if x["kind"] == "eval"]
    best = min(evals, key=lambda x: x["validation_error"])
    lam = table.lam.to_numpy().astype(float)
    expected = {
        "status": "complete", "smoke": False, "dataset": "digits", "source": splits.source,
        "algorithm": "fixmatch", "weighting": "per_example", "method": "FixMatch + Λ", "seed": 1,
        "num_labeled": 20, "val_size": 40, "num_unlabeled": 40, "validation_as_labels": False,
        "steps": 24, "devices": 1, "best_on_validation_is_optimistic": True,
        "test_error_median20": np.median([x["test_error"] for x in evals]),
        "test_error_best_on_validation": best["test_error"],
        "test_error_last": evals[-1]["test_error"],
        "raw_test_error_last": evals[-1]["raw_test_error"],
        "coverage": (table.visits > 0).mean(), "lam_mean": pytest.approx(lam.mean()),
        "lam_quantiles": pytest.approx(np.quantile(lam, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])),
        "deviations": strict(folder / "config.json")["deviations"],
    }  # fmt: skip
    few = ("20 evaluations", "100 test examples", "5 test examples of a class")
    warned = [text.partition(" behind")[0].partition(":")[0] for text in found.pop("warnings")]
    assert warned == [f"fewer than {what}" for what in few]
    timed = {"lambda_share", "seconds"}
    assert found.keys() == expected.keys() | timed
    assert {k: v for k, v in found.items() if k not in timed} == expected
    assert 0 < found["lambda_share"] < 1 and found["seconds"] > 0


def test_tensorboard_has_the_scalars_and_the_histogram_of_lambda(folder):
    tags = {}
    for path in (folder / "tensorboard").glob("events.out.tfevents.*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                tags.setdefault(value.tag, []).append(event.step)
    assert tags["eval/test_error"] == tags["lambda/weights"] == [8, 16, 24]
    assert tags["train/loss"][-1] == 24
    assert {"lambda/coverage", "lambda/lam_mean", "eval/raw_test_error"} <= tags.keys()


@pytest.fixture
def eager():
    """Every mode and switch runs without compilation, six steps each."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


# ReMixMatch turns images: tests/runs/test_all_algorithms_train.py.
PAIRS = [(a, m) for a in ALGORITHMS if a not in ("supervised", "remixmatch") for m in MODES]
# Rows of one parent or two meet every mode; of others a mode takes ids and confidences alone.
FAST = [(a, m) for a, m in PAIRS if a in ("pseudo_label", "mixmatch") or m[:3] in ("per", "con")]
FAST += [("supervised", "fixed"), ("supervised", "zero")]
PAIRS = FAST + [pytest.param(*pair, marks=pytest.mark.slow) for pair in PAIRS if pair not in FAST]


@pytest.mark.parametrize("algorithm, weighting", PAIRS)
@pytest.mark.filterwarnings("ignore:Even though the")
def test_every_algorithm_with_every_mode_of_lambda(eager, tmp_path, algorithm, weighting):
    found = runs.run(tmp_path, **MOONS | SHORT, algorithm=algorithm, weighting=weighting)
    files = RUN_FILES - ({"example_weights.parquet"} if algorithm == "supervised" else set())
    files |= {"lambda_history.npz"} if weighting in LEARNED else set()
    assert {path.name for path in tmp_path.iterdir()} == files
    names = results.METHOD_NAMES[algorithm] + results.WEIGHTING_NAMES[weighting]
    assert found["method"] == names and found["weighting"] == weighting
    learned = weighting in LEARNED
    kinds = [x["kind"] for x in lines(tmp_path)]
    assert kinds.count("lambda") == (2 if learned else 0) and kinds.count("eval") == 2
    assert (found["coverage"] > 0) == learned == found["best_on_validation_is_optimistic"]
    low, high = found["lam_quantiles"][0], found["lam_quantiles"][-1]
    if not learned:
        assert low == high == (0 if weighting == "zero" else 1)
        assert found["lambda_share"] == 0
    else:
        assert (low < high) == (weighting != "single") and (low, high) != (1, 1)
    unlabeled = [x["loss_unlabeled"] for x in lines(tmp_path) if x["kind"] == "train"]
    assert all(u == 0 for u in unlabeled) == (algorithm == "supervised")


SWITCHES = {
    "lambda by adam": {"lambda_optimizer": "adam"},
    "lambda by sgd": {"lambda_optimizer": "sgd"},
    "global t": {"madam_t": "global"},
    "membership mask": {"madam_mask": "membership"},
    "identity": {"inverse_hessian": "identity"},
    "kernel alone": {"theta_hat": "kernel"},
    "moving BatchNorm": {"infl_bn": "moving"},
    "full Hessian": {"curvature": "hessian"},
    "mask left out": {"infl_mask_grad": False, "threshold": 0.7},
    "ridge of its own": {"hess_l2_coeff": 0.5, "hess_wu": False, "wu": 0.3},
    "batches of its own": {"lambda_batch": 30, "val_batch": 7, "val_replace": True},
    "the training batch": {"infl_fresh_batch": False},
    "stale": {"stale_w": True},
    "range": {"lambda_max": 1.01},
    "sgd with cosine": {"optimizer": "nesterov", "lr_schedule": "cosine", "weight_decay": 1e-3},
    "V as labels": {"validation_as_labels": True},
    "released": {"preset": "released", "val_size": 30},
    "compiled": {"jit": True, "deterministic": False},
    "another set": {"dataset": "circles"},
}


# No zero gradient, no BatchNorm, cross-entropy (equal by design), and mere speed.
HERE_THE_SAME = ("membership mask", "moving BatchNorm", "full Hessian", "compiled")


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.filterwarnings("ignore:Even though the")
def test_every_switch_runs_and_does_something(eager, tmp_path, name, plain):
    """Each but `HERE_THE_SAME` changes Lambda or theta against the run without it."""
    found = runs.run(tmp_path, **MOONS | SHORT | SWITCHES[name])
    assert found["status"] == "complete" and 0 < found["coverage"] <= 1
    _, state = newest_checkpoint(tmp_path)
    names = ("params/0000/hidden/kernel", "weights/0000/lam")
    equal = all(np.array_equal(state[k], plain[k]) for k in names)
    assert equal == (name in HERE_THE_SAME)
    if name == "range":
        assert state["weights/0000/lam"].max() <= np.float32(1.01)
    if name == "V as labels":
        assert (found["num_labeled"], found["method"]) == (40, "Pseudo-Label + Λ + V as labels")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    tf.config.run_functions_eagerly(True)
    try:
        runs.run(folder, **MOONS | SHORT)
    finally:
        tf.config.run_functions_eagerly(False)
    return newest_checkpoint(folder)[1]
