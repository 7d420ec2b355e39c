"""Labeling new texts with a saved model: what the run itself says of its test set, and refusals."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import runs
from safetensors.numpy import load_file, save_file
from text_files import read_new, write_csv
from text_runs import tiny_options

from experiments import predict
from experiments.assemble import build
from experiments.options.kinds import TEXTS
from experiments.options.presets import make_config
from experiments.runs import execute as running
from experiments.serving.predictor import predict_texts, predictors
from experiments.serving.source import Wanted, sources
from experiments.serving.text_inputs import text_inputs


@pytest.fixture(scope="module", params=[0, 1], ids=["all layers learn", "one layer learns"])
def trained(request, tmp_path_factory):
    """(run folder, its test texts as a .csv file, their labels) of a supervised run."""
    folder = tmp_path_factory.mktemp("texts")
    options = tiny_options(folder) | {
        "algorithm": "supervised", "bert_trainable_layers": request.param, "steps": 12,
        "eval_every": 12, "learning_rate": 0.03, "ema_decay": 0.5,
    }  # fmt: skip
    config = make_config(**options, out=str(folder / "run"))
    assert running.execute(config, "train_text")["status"] == "complete"
    test = build.load_splits(config).test
    rows = [(k, text) for k, text in enumerate(test.texts)]
    return folder / "run", write_csv(folder / "new.csv", rows, ("id", "text")), test.labels


@pytest.fixture
def label(monkeypatch, tmp_path, trained):
    """Run the program; return the rows it wrote."""

    def label(given, run=trained[0]):
        out = tmp_path / "labels.csv"
        runs.call(predict, monkeypatch, f"--run={run}", f"--input={given}", f"--out={out}")
        with open(out, newline="", encoding="utf-8") as file:
            return list(csv.reader(file))

    return label


def refused(label, capsys, *given):
    with pytest.raises(SystemExit) as caught:
        label(*given)
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error and error.count("\n") == 1
    return error


def test_the_labels_are_those_of_the_run_s_last_evaluation(label, trained, capsys):
    run, new, labels = trained
    header, *rows = label(f"csv:{new}")
    assert header == ["name", "class", "confidence"]
    assert [row[0] for row in rows] == [str(k) for k in range(len(labels))]
    wrong = 100 * np.mean([int(row[1]) != truth for row, truth in zip(rows, labels, strict=True)])
    last = runs.lines(run)[-1]
    assert last["kind"] == "eval" and wrong == pytest.approx(last["test_error"])
    assert len({row[2] for row in rows}) > 3
    assert f"labeled {len(labels)} texts: " in capsys.readouterr().out
    model, config = runs.opened(run)
    p = predictors(model, config)[TEXTS](read_new(new).texts)
    loss = -np.log(p[np.arange(len(p)), labels]).mean()
    assert loss == pytest.approx(last["test_loss"], rel=1e-5)


def test_a_text_has_its_label_in_any_company(trained):
    run, new, _ = trained
    model, config = runs.opened(run)
    texts = read_new(new).texts
    texts[2] = " ".join(["good"] * 40)  # longer than the run's texts: cut as in training
    say = predictors(model, config)[TEXTS]
    together = say(texts)
    parts = predict_texts(model, text_inputs(model, config), texts, batch_size=2)
    np.testing.assert_allclose(parts, together, atol=1e-5)
    np.testing.assert_allclose(say(["dull plot " * 9 + "good " * 40]), together[2:3], atol=1e-5)


@pytest.mark.parametrize("part", ["vocabulary", "weights"])
def test_another_bert_than_the_run_s_is_refused(part, trained, label, capsys, tmp_path):
    folder = Path(shutil.copytree(trained[0], tmp_path / "run"))
    config = json.loads((folder / "config.json").read_text())
    bert = Path(shutil.copytree(config["config"]["bert"], tmp_path / "bert"))
    config["config"]["bert"] = str(bert)
    (folder / "config.json").write_text(json.dumps(config))
    expected = label(f"csv:{trained[1]}")
    assert label(f"csv:{trained[1]}", folder) == expected  # the same one, elsewhere
    change_bert(bert, part)
    # The saved model has all weights unless lower layers are frozen: then its words are enough.
    if part == "vocabulary" or config["config"]["bert_trainable_layers"]:
        message = f"whose {part} have the digest {config['inputs'][part][:12]}. Received: --bert="
        assert message in refused(label, capsys, f"csv:{trained[1]}", folder)
    else:
        assert label(f"csv:{trained[1]}", folder) == expected
    shutil.rmtree(bert)
    assert str(bert) in refused(label, capsys, f"csv:{trained[1]}", folder)


def test_other_layers_than_the_model_begins_with_are_refused(trained, label, capsys, tmp_path):
    folder = Path(shutil.copytree(trained[0], tmp_path / "run"))
    config = json.loads((folder / "config.json").read_text())
    config["config"]["bert_trainable_layers"] ^= 1  # all of the two layers, or the upper one
    (folder / "config.json").write_text(json.dumps(config))
    error = refused(label, capsys, f"csv:{trained[1]}", folder)
    assert "must have the option `bert_trainable_layers` of the model, whose lowest" in error


def change_bert(folder, part):
    """Swap two words of a BERT, or move a bias of its lowest layer; its sizes stay."""
    if part == "weights":
        tensors = load_file(folder / "model.safetensors")
        tensors["encoder.layer.0.output.dense.bias"] += 1
        save_file(tensors, folder / "model.safetensors")
        return
    words = (folder / "vocab.txt").read_text("utf-8").splitlines()
    words[-1], words[-2] = words[-2], words[-1]
    (folder / "vocab.txt").write_text("\n".join(words), "utf-8")


def test_a_folder_for_the_labels_that_is_not_there_is_told_before_any_work(capsys, monkeypatch):
    monkeypatch.setattr(predict, "load_model", lambda *run: pytest.fail("read the model"))
    with pytest.raises(SystemExit):
        runs.call(predict, monkeypatch, "--run=x", "--input=csv:x", "--out=/no/such/labels.csv")
    assert "--out must name a file in a folder that is there" in capsys.readouterr().err


FILES = {
    "another column": ("id,review\n1,good\n", "column names, `text` once. Received: ['id', 'rev"),
    "two of them": ("text,text\na,b\n", "column names, `text` once. Received: ['text', 'text']"),
    "nothing": ("", "column names, `text` once. Received: []"),
    "no row": ("text\n\n", "must have a row below its column names. Received: none"),
    "an empty text": ("text\ngood\n' '\n \n".replace("'", '"'), "an empty text in line 3"),
    "a short row": ("id,text\n1\n", "must have 2 fields in every row. Received: 1"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_do_not_fit_are_refused(tmp_path, name):
    content, message = FILES[name]
    (tmp_path / "bad.csv").write_text(content)
    with pytest.raises(ValueError) as caught:
        read_new(tmp_path / "bad.csv")
    assert message in str(caught.value)


def test_other_columns_and_equal_texts_are_taken(tmp_path):
    rows = [("a, b", "1", "x"), (" a ", "", ""), ("a", "?", "")]
    path = write_csv(tmp_path / "new.csv", rows, ("text ", "label", "split"))
    assert read_new(path)[:3] == (["0", "1", "2"], ["a, b", "a", "a"], [])


@pytest.mark.parametrize("given", ["folder:.", "npz:x.npz", "csv:", "features:x", "setup.py", "."])
def test_inputs_of_another_kind_are_refused(given):
    message = f"--input must be csv:PATH, a file with a column `text`: .*Received: --input={given}"
    with pytest.raises(ValueError, match=message):
        sources([given], Wanted({TEXTS: ()}))


def test_a_refusal_ends_the_program_with_one_line(label, capsys):
    assert "csv:none.csv, which is not there" in refused(label, capsys, "csv:none.csv")
    assert "this run was trained on texts" in refused(label, capsys, "folder:images")
