"""The text program on a tiny BERT of its own: all algorithms, resuming, options, the smoke form."""

import csv
import dataclasses
import html
import json
import os

import keras
import numpy as np
import pandas as pd
import pytest
import runs
import tensorflow as tf
from text_runs import SMALL, tiny_options

from experiments import train_text
from experiments.assemble import build, text_model
from experiments.compare_runs import differences
from experiments.options.config import options_as_json
from experiments.options.deviations import deviations
from experiments.options.effects import refuse_without_effect
from experiments.options.presets import make_config
from experiments.report.report import write_report
from experiments.runs import execute as running
from experiments.runs import state as run_state
from experiments.runs.record import is_complete, read_config
from ssl_weighting.models.bert_weights import MINILM, bert_folder
from ssl_weighting.objective import weighted_objective


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_options(tmp_path_factory.mktemp("text"))


def execute(tiny, out, cache=None, **options):
    return running.execute(
        make_config(**tiny | options, out=str(out)), "train_text", cache_dir=cache
    )


@pytest.fixture(scope="module")
def workshop():
    return runs.Workshop(own_sources=True)


@pytest.fixture(scope="module")
def unbroken(tiny, workshop, tmp_path_factory):
    """A run with dropout everywhere that nobody stopped."""
    out = tmp_path_factory.mktemp("runs") / "unbroken"
    with runs.built_by(workshop.build):
        assert execute(tiny, out, score_every_step=True, tsa="exp")["status"] == "complete"
    return out


def test_a_run_leaves_texts_beside_their_weights(tiny, unbroken):
    kinds = [line["kind"] for line in runs.lines(unbroken)]
    assert kinds.count("lambda") == 2 and kinds.count("eval") == 2
    table = pd.read_parquet(unbroken / "example_weights.parquet")
    assert (table.lam != 1).sum() >= 12 and set(table.true_label) == {-1, 0, 1}
    splits = build.load_splits(make_config(**tiny))
    assert list(table.text) == list(splits.unlabeled.texts)


def test_the_report_of_a_run_shows_its_texts_beside_their_weights(unbroken, tmp_path):
    write_report(unbroken, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Most harmful and helpful texts" in page and "UDA + Λ" in page
    table = pd.read_parquet(unbroken / "example_weights.parquet")
    moved = table[(table.visits > 0) & ~table.labeled].sort_values("influence_mean", kind="stable")
    for row in (moved.iloc[0], moved.iloc[-1]):
        (line,) = (part for part in page.split("<tr>") if f"{html.escape(row.text)}</th>" in part)
        assert html.escape(row["name"]) in line and f"<td>{row.lam:.2f}</td>" in line


def test_the_saved_model_is_the_one_that_was_evaluated(tiny, unbroken):
    model = keras.models.load_model(unbroken / "model.keras", compile=False, safe_mode=True)
    test = build.load_splits(make_config(**tiny)).test
    logits = np.array(model(test.inputs)["logits"])
    error = 100 * (logits.argmax(1) != test.labels).mean()
    assert runs.lines(unbroken)[-1]["test_error"] == pytest.approx(error)


def test_resumed_equals_unbroken_bit_for_bit(tiny, workshop, unbroken, tmp_path, monkeypatch):
    options = {"score_every_step": True, "tsa": "exp"}
    with runs.built_by(workshop.build):
        runs.at_line("train", 6, runs.after)(monkeypatch)
        with pytest.raises(runs.Killed):
            execute(tiny, tmp_path, **options)
        with pytest.raises(ValueError, match="reparam"):
            execute(tiny, tmp_path, **options, reparam="paper")
        execute(tiny, tmp_path, **options)
    assert differences(unbroken, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"algorithm": "uda", "bert_trainable_layers": 1, "reparam": "paper"},
        {
            "algorithm": "uda", "infl_own_features": True, "infl_fresh_batch": False,
            "stale_w": True,
        },
        {"algorithm": "pseudo_label", "reparam": "none", "bert_trainable_layers": 1},
        {"algorithm": "fixmatch", "bert_trainable_layers": 1},
        {"algorithm": "supervised", "bert_trainable_layers": 1},
    ],
    ids=lambda options: "-".join(map(str, options)),
)  # fmt: skip
def test_any_run_resumed_by_fresh_objects_equals_unbroken(tiny, tmp_path, monkeypatch, options):
    cache = str(tmp_path / "cache")
    summary = execute(tiny, tmp_path / "whole", cache, **options)
    assert summary["status"] == "complete" and 0 <= summary["test_error_median20"] <= 100
    runs.at_line("train", 6, runs.after)(monkeypatch)
    with pytest.raises(runs.Killed):
        execute(tiny, tmp_path / "broken", cache, **options)
    execute(tiny, tmp_path / "broken", cache, **options)
    assert differences(tmp_path / "whole", tmp_path / "broken") == []


def top_gradient(run, algorithm):
    """Return the gradient of the objective in the last layer and pooler at rest, flat."""
    model = run.trainer.model
    model.get_layer("head").kernel.assign(np.linspace(-1, 1, SMALL.width)[:, None])
    chosen = [v for v in model.trainable_variables if "layer_1_" in v.path or "pool" in v.path]
    chosen = [v.value for v in sorted(chosen, key=lambda v: v.path)]
    with tf.GradientTape() as tape:
        rows = algorithm(
            lambda x, **_: model(x, training=False),
            *run.trainer.source.at(3),
            tf.constant(3, tf.int64),
        )
        loss = weighted_objective(rows, None)
    return np.concatenate([np.ravel(g) for g in tape.gradient(loss, chosen)])


def test_weak_views_by_themselves_teach_what_they_teach_among_the_others(tiny, tmp_path):
    config = make_config(**tiny, out=str(tmp_path))
    run = build.build(config, build.load_splits(config, str(tmp_path)))
    apart = run.trainer.algorithm
    assert apart.separate_weak
    found = [top_gradient(run, a) for a in (dataclasses.replace(apart, separate_weak=False), apart)]
    assert np.abs(found[0]).max() > 1e-3
    assert np.linalg.norm(found[0] - found[1]) < 1e-5 * np.linalg.norm(found[0])


def test_top_layers_on_kept_states_learn_what_they_learn_in_the_whole(tiny, tmp_path):
    """The same gradient, up to the float16 in which the states are kept."""
    found = []
    for trainable in (0, 1):
        config = make_config(**tiny, out=str(tmp_path), bert_trainable_layers=trainable)
        run = build.build(config, build.load_splits(config, str(tmp_path)))
        found.append(top_gradient(run, run.trainer.algorithm))
        inputs = run.splits.test.inputs[:5]
        assert (run.evaluator.preprocess(inputs).shape == inputs.shape) == (not trainable)
        assert any("seed_generator" in name for name in run_state.variables(run))
    assert np.abs(found[0]).max() > 1e-3
    assert np.linalg.norm(found[0] - found[1]) < 5e-3 * np.linalg.norm(found[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bert_trainable_layers": 2}, "--bert_trainable_layers must be below 2"),
        ({"max_len": 12}, "`length` must be from 1 to 9"),
        ({"model": "mlp"}, "--model must be bert for texts"),
        ({"back_translation_dir": "nowhere"}, "unsup_in"),
    ],
)
def test_options_that_do_not_fit_the_texts_are_refused(tiny, tmp_path, options, message):
    with pytest.raises((ValueError, OSError), match=message):
        execute(tiny, tmp_path, **options)


@pytest.mark.parametrize("algorithm", ["vat", "mixmatch", "mean_teacher", "remixmatch"])
def test_algorithms_on_pixels_are_refused(algorithm):
    with pytest.raises(ValueError, match=f"--algorithm must be one of .* texts: .*={algorithm}"):
        make_config(dataset="imdb", algorithm=algorithm)


def test_the_paper_s_recipe():
    config = make_config(dataset="imdb")
    assert (config.bert, config.max_len, config.bert_trainable_layers) == (
        "bert-base-uncased",
        128,
        0,
    )
    assert (config.labeled_batch, config.unlabeled_batch, config.steps) == (8, 32, 10_000)
    assert (config.inner_steps, config.lambda_warmup_steps, config.lambda_lr) == (5, 1000, 0.01)
    assert (config.learning_rate, config.lr_warmup_steps, config.tsa) == (2e-5, 1000, "linear")
    assert (config.threshold, config.algorithm) == (0.0, "uda")
    assert config.num_labeled == config.val_size == 20
    assert deviations(config) == [
        "DEVIATION: strong views by TF-IDF word replacement (0.7) instead of back-translation"
    ]
    assert deviations(make_config(dataset="imdb", back_translation_dir="there")) == []
    base = make_config(dataset="imdb", algorithm="supervised")
    assert (base.steps, base.learning_rate, base.labeled_batch) == (3000, 3e-5, 32)
    assert deviations(base) == []
    assert make_config(dataset="imdb", algorithm="fixmatch").threshold == 0.95
    assert text_model.reparam_of(config, 2) == "half" and text_model.reparam_of(config, 3) == "none"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"dataset": "digits"}, "bert"),
        ({"dataset": "digits"}, "bert_pooling"),
        ({"dataset": "imdb"}, "flip"),
        ({"dataset": "imdb"}, "depth"),
        ({"dataset": "imdb", "algorithm": "pseudo_label"}, "text_copies"),
        ({"dataset": "imdb", "text_augment": "none"}, "text_augment_p"),
        ({"dataset": "digits", "lr_schedule": "constant"}, "lr_warmup_steps"),
        ({"dataset": "imdb"}, "uda_version"),
        ({"dataset": "imdb"}, "strong_augment"),
        ({"dataset": "imdb"}, "weight_decay_scope"),
    ],
)
def test_options_without_effect_are_refused(options, name):
    with pytest.raises(ValueError, match=f"--{name} would do nothing here"):
        refuse_without_effect(make_config(**options), [name])


def test_the_smoke_form_keeps_the_switches():
    options = {"algorithm": "fixmatch", "reparam": "paper", "score_every_step": True}
    config = make_config(dataset="imdb", smoke=True, **options)
    assert (config.dataset, config.bert, config.steps) == ("rotten_tomatoes", MINILM, 4)
    assert all(getattr(config, name) == value for name, value in options.items())
    assert any(line.startswith("SMOKE") for line in deviations(config))


@pytest.mark.slow
def test_smoke_runs_the_program(tmp_path, monkeypatch, capsys):
    try:
        bert_folder(MINILM)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    arguments = ("--smoke", f"--out={tmp_path / 'out'}", f"--cache_dir={tmp_path / 'cache'}")
    assert runs.call(train_text, monkeypatch, *arguments) == 0
    printed = capsys.readouterr().out
    assert "SMOKE" in printed and "finished" in printed
    assert is_complete(tmp_path / "out")


def test_a_set_of_images_is_refused(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        runs.call(train_text, monkeypatch, "--dataset=digits", f"--out={tmp_path}")
    assert "--dataset must be one of imdb" in capsys.readouterr().err


def test_names_of_rows_and_what_was_skipped_stand_beside_the_results(tmp_path):
    """A file of the world: other columns, semicolons, an empty row, a name that is not UTF-8."""
    options = tiny_options(tmp_path) | {"bert_trainable_layers": 1, "text_copies": 1}
    with open(tmp_path / "reviews.csv", newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    lines = [f'n{k};"{text}";{label}' for k, (text, label) in enumerate(rows)]
    path = tmp_path / os.fsdecode(b"caf\xe9.csv")
    path.write_text("\n".join(["key;body;stars", *lines, "empty; ;", ""]))
    out = tmp_path / "run"
    options |= {"dataset": f"csv:{path}", "text_column": "body", "label_column": "stars"}
    config = make_config(**options, id_column="key", out=str(out))
    assert running.execute(config, "train_text")["dataset"] == "caf\\udce9"
    saved = read_config(out)["config"]
    assert saved == options_as_json(config), "the same command finds its own run again"
    table = pd.read_parquet(out / "example_weights.parquet")
    known = {text: f"n{k}" for k, (text, _) in enumerate(rows)}
    assert [known[text] for text in table["text"]] == table["name"].tolist()
    (skipped,) = csv.DictReader((out / "skipped.csv").read_text("utf-8").splitlines())
    assert skipped["name"] == "empty" and "an empty text in line 82" in skipped["problem"]
    notes = json.loads((out / "config.json").read_text())["notes"]
    assert any("1 rows of caf\\udce9.csv skipped, in lines 82" in note for note in notes)
    write_report(out, tmp_path / "report")


@pytest.mark.slow
@pytest.mark.parametrize("layers", [0, 1])
def test_a_cross_fit_of_texts_with_its_refit_resumes(tiny, tmp_path, monkeypatch, capsys, layers):
    options = {
        "validation": "cross_fit", "refit": True, "num_labeled": 8, "val_size": 0,
        "bert_trainable_layers": layers,
    }  # fmt: skip
    summary = execute(tiny, tmp_path / "a", tmp_path / "cache", **options)
    assert summary["method"] == "UDA + Λ + cross-fit + refit"
    said = capsys.readouterr().out
    texts = 4 if layers else 0  # labeled, test, unlabeled and their copies: once for three models
    assert said.count("computing the hidden states of") == texts
    for kind, step in (("train", 8), ("train", 14)):
        with monkeypatch.context() as patched:
            runs.at_line(kind, step, runs.after)(patched)
            with pytest.raises(runs.Killed):
                execute(tiny, tmp_path / "b", tmp_path / "cache", **options)
    execute(tiny, tmp_path / "b", tmp_path / "cache", **options)
    assert differences(tmp_path / "a", tmp_path / "b") == []
    config = make_config(**tiny | options)
    trainer = build.build(config, build.load_splits(config)).trainer
    models = [member.model for member in (*trainer.learning.members, trainer.refit)]
    starts = {np.array(model.get_layer("head").kernel).tobytes() for model in models}
    assert len(starts) == 3, "each model has its own head"
