"""Names on their whole way, for every kind of data: reader, run, export, exclusion, next run."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
import runs
from feature_files import arrays, write_npz
from PIL import Image
from text_runs import tiny_options

from experiments import export_weights, predict, train_features, train_images, train_text
from experiments.assemble.build import load_splits
from experiments.options.config import config_from_json
from experiments.report.report import write_report

SHORT = {
    "recipe": "paper", "steps": 8, "eval_every": 8, "checkpoint_every": 8, "log_every": 8,
    "labeled_batch": 4, "unlabeled_ratio": 4, "inner_steps": 1, "lambda_warmup_steps": 0,
    "num_labeled": 6, "val_size": 6, "num_test": 8, "threshold": 0,
}  # fmt: skip
IMAGES = SHORT | {
    "algorithm": "pseudo_label", "depth": 10, "width": 1, "base_filters": 4, "jit": False,
    "ramp_steps": 0,
}  # fmt: skip


def pictures(rng, n):
    return rng.integers(0, 256, (n, 8, 8, 1), np.uint8)


def a_folder(place, rng):
    for k, image in enumerate(pictures(rng, 60)):
        where = ("cats", "dogs")[k % 2] if k < 40 else "unlabeled/from phone"
        path = place / "photos" / where / f"{k:02d} ü.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)
    return train_images, IMAGES | {"dataset": f"folder:{place / 'photos'}"}


def an_npz(place, rng):
    labels = np.arange(40) % 2
    found = {"x_train": pictures(rng, 40), "y_train": labels, "x_unlabeled": pictures(rng, 20)}
    np.savez(place / "mine.npz", **found)
    return train_images, IMAGES | {"dataset": f"npz:{place / 'mine.npz'}"}


def a_csv(place, rng):
    options = tiny_options(place)
    keys = ("dataset", "bert", "max_len", "text_copies", "ramp_steps", "lr_warmup_steps")
    return train_text, SHORT | {key: options[key] for key in keys} | {"labeled_batch": 3}


def features(place, rng):
    names = {"names_train": [f"key {k}" for k in range(60)]}
    found = write_npz(place / "f.npz", **arrays(), **{k: np.array(v) for k, v in names.items()})
    return train_features, SHORT | {"dataset": found}


KINDS = {
    "folder": (a_folder, "unlabeled/from phone/41 ü.png"),
    "npz": (an_npz, "x_unlabeled[3]"),
    "csv": (a_csv, "row 70"),
    "features": (features, "x_unlabeled[3]"),
}


def train(monkeypatch, program, options, out, *more):
    flags = [f"--{name}={value}" for name, value in (options | {"out": out}).items()]
    return runs.call(program, monkeypatch, *flags, *more)


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.slow if k in ("npz", "csv") else ()) for k in KINDS]
)
def test_names_walk_from_the_reader_to_the_next_run(kind, tmp_path, monkeypatch, capsys, rng):
    make, known = KINDS[kind]
    program, options = make(tmp_path, rng)
    first, second = tmp_path / "runs/first", tmp_path / "runs/second"
    assert train(monkeypatch, program, options, first) == 0
    recorded = json.loads((first / "config.json").read_text())
    whole = load_splits(config_from_json(recorded["config"]))
    table = pd.read_parquet(first / "example_weights.parquet")
    assert table.name.tolist() == whole.unlabeled.names.tolist() and known in set(table.name)
    assert table.name.is_unique and set(table.source) == {"unlabeled", "labeled"}
    assert set(table.name[table.source == "labeled"]) == set(whole.labeled.names)

    worst = tmp_path / "worst.csv"
    runs.call(export_weights, monkeypatch, f"--run={first}", f"--out={worst}", "--worst=5")
    gone = [row["name"] for row in csv.DictReader(worst.open(encoding="utf-8"))]
    assert len(gone) == 5
    assert train(monkeypatch, program, options, second, f"--exclude={worst}") == 0
    after = pd.read_parquet(second / "example_weights.parquet")
    assert after.name.tolist() == [name for name in table.name if name not in gone]
    now = json.loads((second / "config.json").read_text())
    assert now["inputs"]["exclude"] and now["notes"][-1].startswith("5 examples are excluded")
    left = load_splits(config_from_json(now["config"]))
    for part in ("labeled", "validation", "test"):
        np.testing.assert_array_equal(getattr(left, part).names, getattr(whole, part).names)
    capsys.readouterr()
    with pytest.raises(SystemExit):  # another list is another run
        train(monkeypatch, program, options, second)
    assert "split_hash" in capsys.readouterr().err

    report = write_report(tmp_path / "runs", tmp_path / "report")
    assert report is not None
    page = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert "Most harmful" in page and "exclude=worst.csv" in page
    assert gone[0].rpartition("/")[2] in page


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("nowhere.png\n", "'nowhere.png') that it does not have. Its names are like 'x_"),
        ("\n", "must name a file with the name of an example in each line"),
    ],
)
def test_lists_that_do_not_fit_end_the_program(tmp_path, monkeypatch, capsys, rng, lines, message):
    program, options = features(tmp_path, rng)
    (tmp_path / "list.txt").write_text(lines)
    with pytest.raises(SystemExit):
        more = f"--exclude={tmp_path / 'list.txt'}"
        train(monkeypatch, program, options, tmp_path / "out", more)
    assert message.replace("x_", "") in capsys.readouterr().err


@pytest.mark.slow
def test_answers_of_a_model_name_the_rows_of_an_array(tmp_path, monkeypatch, rng):
    program, options = an_npz(tmp_path, rng)
    assert train(monkeypatch, program, options, tmp_path / "run") == 0
    np.savez(tmp_path / "new.npz", x=pictures(rng, 3))
    given = [f"--run={tmp_path / 'run'}", f"--input=npz:{tmp_path / 'new.npz'}"]
    runs.call(predict, monkeypatch, *given, f"--out={tmp_path / 'answers.csv'}")
    names = [row["name"] for row in csv.DictReader((tmp_path / "answers.csv").open())]
    assert len(names) == len(set(names)) == 3
