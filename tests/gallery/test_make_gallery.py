"""From a run folder to its page: the same numbers as the run's, or refused by name."""

import base64
import hashlib
import html
import json
import re
import shutil
from pathlib import Path

import gallery_pages
import keras
import numpy as np
import pandas as pd
import pytest
from runs import DIGITS, call

from experiments import make_gallery
from experiments.assemble.build import load_splits
from experiments.gallery.page import encoded
from experiments.gallery.rows import collect
from experiments.options.presets import make_config
from ssl_weighting.data.images.augmentation import clean_view

TYPES = {"f": "<f4", "i": "<i4", "h": "<u2", "b": "u1"}


@pytest.fixture
def copy(unbroken, tmp_path):
    return Path(shutil.copytree(unbroken, tmp_path / "run"))


@pytest.fixture
def make(monkeypatch):
    return lambda *arguments: call(make_gallery, monkeypatch, *arguments)


@pytest.fixture(scope="module")
def splits():
    return load_splits(make_config(**DIGITS))


def data_of(page):
    """Return what stands in the page's data, its columns as arrays."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    data = json.loads(found[1])
    return data | {"columns": {name: array_of(text) for name, text in data["columns"].items()}}


def array_of(text):
    return np.frombuffer(base64.b64decode(text[1:]), TYPES[text[0]])


def test_columns_are_those_of_the_run_and_of_its_model(copy, make, splits, capsys):
    make(f"--run={copy}", "--with_test")
    assert capsys.readouterr().out == f"120 examples: {copy / 'gallery.html'}\n"
    data = data_of((copy / "gallery.html").read_text(encoding="utf-8"))
    columns, weights = data["columns"], pd.read_parquet(copy / "example_weights.parquet")
    for name, of_run in {"lam": "lam", "visits": "visits", "pseudo": "pseudo_label",
                         "truth": "true_label", "confidence": "confidence"}.items():  # fmt: skip
        np.testing.assert_array_equal(columns[name][:40], weights[of_run], name)
    assert np.isnan(columns["lam"][40:]).all()
    # --exclude refuses labeled examples, which stand in U here.
    assert columns["excludable"].tolist() == [*(1 - weights["labeled"]), *[0] * 80]
    assert columns["source"].tolist() == [*(1 * weights["labeled"]), *[2] * 40, *[3] * 40]
    model = keras.models.load_model(copy / "model.keras", compile=False)
    x = np.concatenate([splits.validation.inputs, splits.test.inputs])
    labels = np.concatenate([splits.validation.labels, splits.test.labels])
    z = model(clean_view(x), training=False)["logits"].numpy().astype(float)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    np.testing.assert_array_equal(columns["pseudo"][40:], p.argmax(1))
    np.testing.assert_array_equal(columns["truth"][40:], labels)
    np.testing.assert_allclose(columns["confidence"][40:], p.max(1), rtol=1e-5)
    np.testing.assert_allclose(columns["loss"][40:], -np.log(p[range(80), labels]), rtol=1e-4)


def test_the_history_stands_in_the_page(copy, make):
    make(f"--run={copy}")
    history = data_of((copy / "gallery.html").read_text(encoding="utf-8"))["history"]
    with np.load(copy / "lambda_history.npz") as file:
        lam, steps = file["lam"], file["steps"]
    levels = array_of(history["lam"]).reshape(40, 3)
    found = history["low"] + (history["high"] - history["low"]) * levels / 65535
    np.testing.assert_allclose(found.T, lam, atol=1e-5)
    assert history["steps"] == steps.tolist()


def test_a_run_of_before_has_a_page_too(copy, make):
    """Without names, influences a visit and λ over training."""
    path = copy / "example_weights.parquet"
    weights = pd.read_parquet(path)
    old = ["id", "lam", "visits", "pseudo_label", "confidence", "loss", "true_label"]
    weights[[*old, "last_influence"]].to_parquet(path, index=False)
    (copy / "lambda_history.npz").unlink()
    make(f"--run={copy}")
    data = data_of((copy / "gallery.html").read_text(encoding="utf-8"))
    assert data["history"] is None and np.isnan(data["columns"]["influence"]).all()
    assert len(set(data["names"])) == 80


def test_what_does_not_fit_is_refused_by_name(copy, make, capsys, tmp_path):
    def refused(*arguments):
        with pytest.raises(SystemExit):
            make(*arguments)
        return capsys.readouterr().err

    assert "--out must be a file NAME.html" in refused(f"--run={copy}", "--out=nowhere/a.html")
    assert "--out must be a file NAME.html" in refused(f"--run={copy}", f"--out={tmp_path}/a.txt")
    (tmp_path / "mine.html").write_text("my own page")
    assert "mine.html would be replaced" in refused(f"--run={copy}", f"--out={tmp_path}/mine.html")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"split_hash": "0" * 64}))
    assert "--run must find the data that it was trained on" in refused(f"--run={copy}")
    (copy / "example_weights.parquet").unlink()
    assert "with no example_weights.parquet" in refused(f"--run={copy}")
    (copy / "summary.json").unlink()
    assert "must be the folder of a finished run" in refused(f"--run={copy}")


def test_the_page_runs_its_own_script_alone(tmp_path):
    names = ["</script><script>1</script>", "<!--", "&amp;", "\u2028", "\0", "a"]
    path = gallery_pages.write(gallery_pages.rows(tmp_path, names), tmp_path / "a.html")
    page = path.read_text(encoding="utf-8")
    assert data_of(page)["names"] == names
    policy = html.unescape(re.search(r'Content-Security-Policy" content="(.*?)"', page)[1])
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    styles = re.findall(r"<style>(.*?)</style>", page, re.S)
    for kind, contents in (("script", scripts), ("style", styles)):
        (content,) = contents
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)


def test_arrays_are_written_little_endian():
    values = np.array([1.5, np.nan, -2], ">f4")
    np.testing.assert_array_equal(array_of(encoded(values)), values)
    np.testing.assert_array_equal(array_of(encoded(np.array([1, 65535], np.uint16))), [1, 65535])


def test_labeled_examples_of_u_stand_once_in_the_page(unbroken, splits):
    found = collect(unbroken)
    assert [part.source for part in found.parts] == ["unlabeled", "validation"]
    assert len(found.names) == len(splits.unlabeled) + len(splits.validation)
