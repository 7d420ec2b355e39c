"""The program for features: model, Eq. 6 on its head, resuming, options, labels of new rows."""

import csv

import keras
import numpy as np
import pandas as pd
import pytest
import runs
from feature_files import CLASSES, WRITERS, D, arrays, write_npz

from experiments import predict, train_features, train_images
from experiments.assemble.build import build, load_splits
from experiments.compare_runs import differences
from experiments.options.deviations import deviations
from experiments.options.effects import refuse_without_effect
from experiments.options.kinds import FEATURE_ROWS
from experiments.options.presets import make_config
from experiments.report.report import write_report
from experiments.runs import execute as running
from experiments.serving.source import Wanted, sources
from experiments.verification import scores
from ssl_weighting.data.sources import sources_of_u

TINY = {
    "num_labeled": 9, "val_size": 9, "labeled_batch": 6, "unlabeled_ratio": 2, "steps": 12,
    "eval_every": 4, "checkpoint_every": 4, "log_every": 2, "inner_steps": 3,
    "lambda_warmup_steps": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_npz(tmp_path_factory.mktemp("features") / "f.npz", **arrays(views=2))


def execute(dataset, out, **options):
    config = make_config(**TINY | {"dataset": dataset} | options, out=str(out))
    return running.execute(config, "train_features")


@pytest.fixture(scope="module")
def unbroken(dataset, tmp_path_factory):
    """A run that the program made and nobody stopped."""
    out = tmp_path_factory.mktemp("runs") / "unbroken"
    given = TINY | {"dataset": dataset, "recipe": "paper"}
    flags = [f"--{name}={value}" for name, value in given.items()]
    with pytest.MonkeyPatch.context() as patched:
        assert runs.call(train_features, patched, *flags, f"--out={out}") == 0
    return out


def standardised(splits):
    """Return inputs -> (x - mean) / std of D and U, in float64 by numpy alone."""
    x = np.concatenate([splits.labeled.inputs[~in_u(splits)], splits.unlabeled.inputs]).astype(
        float
    )
    mean, std = x.mean(0), x.std(0)
    return lambda inputs: (np.asarray(inputs, float) - mean) / std


def in_u(splits):
    rows = {row.tobytes() for row in splits.unlabeled.inputs}
    return np.array([row.tobytes() in rows for row in splits.labeled.inputs])


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def weights(model):
    return [np.array(v, float) for v in model.trainable_variables]


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_the_model_is_a_head_on_standardised_features(dataset, head):
    config = make_config(**TINY | {"dataset": dataset, "head": head})
    splits = load_splits(config)
    model = build(config, splits).trainer.model
    x = z = standardised(splits)(splits.test.inputs)
    *hidden, kernel, bias = weights(model)
    assert len(hidden) == (0 if head == "linear" else 4) and kernel.shape[1] == CLASSES
    for k in range(0, len(hidden), 2):
        z = np.maximum(z @ hidden[k] + hidden[k + 1], 0)
    out = model(splits.test.inputs)
    np.testing.assert_allclose(out["features"], z, atol=2e-4)
    np.testing.assert_allclose(out["logits"], z @ kernel + bias, atol=5e-4)
    assert np.abs(x.mean()) < 1  # of other examples: on the scale, wherever the raw ones were
    assert np.abs(splits.test.inputs).max() > 30


@pytest.mark.parametrize("method", ["conjugate_gradient", "exact"])
def test_eq_6_on_the_linear_head_is_that_of_the_dense_hessian(dataset, method):
    """Every λ at once: H of the minimised objective by numpy, over kernel and bias."""
    options = {"inverse_hessian": method, "solve_tolerance": 1e-12, "weight_decay": 0.02}
    config = make_config(**TINY | {"dataset": dataset, "damping": 0.05, "ramp_steps": 0} | options)
    splits = load_splits(config)
    trainer = build(config, splits).trainer
    for _ in trainer.steps(7, lambda step: step + 1):  # Lambda has moved once
        pass
    lam = trainer.store.table().numpy().astype(float)
    assert trainer.lambda_steps == 1 and (lam != 1).all()
    measured = trainer.measure()
    count = len(splits.unlabeled)
    assert sorted(measured.ids.numpy()) == list(range(count)), "every λ moves at every Lambda-step"
    labeled, unlabeled = trainer.lambda_source.at(trainer.lambda_steps)
    inputs = np.concatenate([labeled.inputs, unlabeled.weak])
    phi = np.c_[standardised(splits)(inputs), np.ones(len(inputs))]
    theta = np.vstack(weights(trainer.model))
    p, b = softmax(phi @ theta), len(labeled.label)
    targets = np.eye(CLASSES)[np.r_[labeled.label, p[b:].argmax(1)]]
    share = np.r_[np.full(b, 1 / b), lam[unlabeled.ids] / count]
    blocks = np.einsum("rc,cd->rcd", p, np.eye(CLASSES)) - p[:, :, None] * p[:, None]
    h = np.einsum("r,ri,rj,rcd->icjd", share, phi, phi, blocks).reshape(theta.size, theta.size)
    h += np.diag(np.where(np.arange(theta.size) < D * CLASSES, 0.02, 0.0) + 0.05)
    v = np.c_[standardised(splits)(splits.validation.inputs), np.ones(len(splits.validation))]
    error = softmax(v @ theta) - np.eye(CLASSES)[splits.validation.labels]
    direction = np.linalg.solve(h, (v.T @ error / len(v)).ravel()).reshape(theta.shape)
    expected = -np.einsum("ri,ic,rc->r", phi[b:], direction, (p - targets)[b:])
    found = dict(zip(measured.ids.numpy(), measured.lam_gradient.numpy(), strict=True))
    found = [found[int(k)] for k in unlabeled.ids]
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5 * np.abs(expected).max())


def test_a_run_ends_with_names_beside_its_weights_and_a_report_without_pictures(unbroken, tmp_path):
    table = pd.read_parquet(unbroken / "example_weights.parquet")
    kinds = [line["kind"] for line in runs.lines(unbroken)]
    assert kinds.count("lambda") == 2 and kinds.count("eval") == 3
    assert (table.visits == 2).all() and (table.lam != 1).all()
    assert {f"x_unlabeled[{k}]" for k in range(30)} < set(table.name)
    assert not (unbroken / "extreme_examples.npz").exists()
    write_report(unbroken, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Pseudo-Label + Λ" in page and "images" not in page.partition("<main")[2]
    assert "--dataset=features:f.npz" in page and "train_features" in page


def test_resumed_equals_unbroken_bit_for_bit(dataset, unbroken, tmp_path, monkeypatch):
    runs.at_line("train", 6, runs.after)(monkeypatch)
    with pytest.raises(runs.Killed):
        execute(dataset, tmp_path / "run")
    with pytest.raises(ValueError, match="head"):
        execute(dataset, tmp_path / "run", head="mlp")
    execute(dataset, tmp_path / "run")
    assert differences(unbroken, tmp_path / "run") == []


def test_the_same_arrays_in_another_format_are_the_same_run(dataset, unbroken, tmp_path):
    other = WRITERS["features"](tmp_path / "f", **arrays(views=2))
    execute(other, tmp_path / "run")
    changed = differences(unbroken, tmp_path / "run")
    assert all("dataset" in line or "source" in line for line in changed), changed


OTHERS = {
    "fixmatch, given views, mlp": {"algorithm": "fixmatch", "head": "mlp"},
    "uda, perturbed, all parameters": {
        "algorithm": "uda", "feature_views": "perturbed", "influence_params": "all", "head": "mlp",
    },
    "fixmatch, mixed, single": {
        "algorithm": "fixmatch", "feature_views": "mixed", "weighting": "single",
    },
    "mixmatch, shuffled": {"algorithm": "mixmatch", "weighting": "shuffled"},
    "mean teacher, random": {"algorithm": "mean_teacher", "weighting": "random"},
    "vat, identity": {"algorithm": "vat", "inverse_hessian": "identity"},
    "cross-fit": {"validation": "cross_fit", "num_labeled": 18},
    "every step scored": {"score_every_step": True},
    "released": {"preset": "released"},
    "oracle": {"weighting": "oracle"},
    "supervised": {"algorithm": "supervised"},
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["fixmatch, given views, mlp", pytest.param("cross-fit", marks=pytest.mark.slow)],
)
def test_other_runs_resume_too(dataset, tmp_path, monkeypatch, name):
    execute(dataset, tmp_path / "a", **OTHERS[name])
    runs.at_line("train", 6, runs.after)(monkeypatch)
    with pytest.raises(runs.Killed):
        execute(dataset, tmp_path / "b", **OTHERS[name])
    execute(dataset, tmp_path / "b", **OTHERS[name])
    assert differences(tmp_path / "a", tmp_path / "b") == []


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_everything_else_runs_on_features(dataset, tmp_path, name):
    summary = execute(dataset, tmp_path / "run", **OTHERS[name])
    assert summary["status"] == "complete" and np.isfinite(summary["test_error_last"])
    table = tmp_path / "run" / "example_weights.parquet"
    if summary["weighting"] in ("single", "shuffled", "random", "per_example"):
        assert (pd.read_parquet(table).lam != 1).any()


@pytest.mark.parametrize("name", ["new.npz", "new.parquet"])
def test_predict_says_what_the_model_says(dataset, unbroken, tmp_path, monkeypatch, capsys, name):
    test, labels = arrays(views=2)["x_test"], arrays()["y_test"]
    names = np.array([f"row {k}" for k in range(len(test))])
    if name.endswith("npz"):
        np.savez(tmp_path / name, x=test, names=names)
    else:
        pd.DataFrame({"x": list(test), "name": names}).to_parquet(tmp_path / name)
    given = (f"--run={unbroken}", f"--input=features:{tmp_path / name}", f"--out={tmp_path / 'o'}")
    assert runs.call(predict, monkeypatch, *given) == 0
    assert f"labeled {len(test)} features: " in capsys.readouterr().out
    with open(tmp_path / "o", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    kernel, bias = weights(keras.models.load_model(unbroken / "model.keras", compile=False))
    p = softmax(
        standardised(load_splits(make_config(**TINY | {"dataset": dataset})))(test) @ kernel + bias
    )
    assert header == ["name", "class", "confidence"]
    assert [row[:2] for row in rows] == [
        [n, str(k)] for n, k in zip(names, p.argmax(1), strict=True)
    ]
    assert np.abs(np.array([float(row[2]) for row in rows]) - p.max(1)).max() < 1e-4
    wrong = 100 * np.mean(p.argmax(1) != labels)
    assert runs.lines(unbroken)[-1]["test_error"] == pytest.approx(wrong)


@pytest.mark.parametrize("given", ["csv:x", "npz:x", "features:", "features:nowhere"])
def test_predict_refuses_what_is_no_file_of_features(given):
    with pytest.raises((ValueError, FileNotFoundError), match=r"--input must (be|name a)"):
        sources([given], Wanted({FEATURE_ROWS: (D,)}))


def test_a_run_knows_which_of_u_are_labeled(dataset):
    splits = load_splits(make_config(**TINY | {"dataset": dataset}))
    assert (sources_of_u(splits) == "labeled").sum() == 9 and len(splits.unlabeled) == 60 - 9 + 30


@pytest.mark.parametrize(
    ("program", "flags", "message"),
    [
        (train_features, ["--dataset=digits"], "must be features:PATH. Received: 'digits'. Use p"),
        (train_images, ["--dataset=features:x"], "Use python -m experiments.train_features for f"),
        (train_features, ["--dataset=features:nowhere"], "features:nowhere, which is not there"),
        (train_features, ["--dataset=features:x", "--smoke"], "--smoke would do nothing here"),
        (train_features, ["--dataset=features:x", "--model=mlp"], "--model=features goes with"),
        (train_features, ["--dataset=features:x", "--depth=10"], "--depth would do nothing here"),
        (
            train_features,
            ["--dataset=features:x", "--feature_noise=1"],
            "--algorithm=mean_teacher or mixmatch",
        ),
        (
            train_features,
            ["--dataset=features:x", "--algorithm=remixmatch"],
            "so it needs images and a batch that is a multiple of 4",
        ),
    ],
)
def test_what_does_not_go_with_features_is_refused(
    program, flags, message, tmp_path, monkeypatch, capsys
):
    with pytest.raises(SystemExit):
        runs.call(program, monkeypatch, *flags, f"--out={tmp_path}")
    assert message in capsys.readouterr().err


def test_given_views_must_be_there(tmp_path):
    dataset = write_npz(tmp_path / "f.npz", **arrays())
    config = make_config(
        **TINY | {"dataset": dataset, "algorithm": "fixmatch", "feature_views": "given"}
    )
    with pytest.raises(ValueError, match="--feature_views=given needs x_train or x_unlabeled"):
        build(config, load_splits(config))


def test_the_recipe_follows_the_steps_and_is_named_as_ours():
    config = make_config(dataset="features:x", steps=600)
    assert (config.inner_steps, config.lambda_warmup_steps, config.eval_every) == (10, 60, 30)
    assert config.lambda_batch == -1
    assert make_config(dataset="features:x", preset="released").lambda_batch == 0
    assert make_config(dataset="features:x", algorithm="mixmatch").lambda_batch == 0
    (said,) = deviations(config)
    assert said.startswith("DEVIATION: the paper trains on no features; ours: ")
    refuse_without_effect(config, ["head", "lambda_batch", "damping"])


def test_its_scores_can_be_examined_on_all_of_u(unbroken):
    examination = scores.Examination(scores.restored(unbroken, 10_000, None))
    assert sorted(examination.ids) == list(range(81))
    rows = scores.examine(examination, [24], repeats=1)
    assert rows[0][2] == pytest.approx(1.0)
