"""experiments.pack, and runs on what it made: those on the folder or the file, to the bit."""

import json
import os
import subprocess
import sys

import numpy as np
import packs
import pytest
import runs
import tensorflow as tf
from places import ROOT

from experiments import pack
from experiments.assemble.build import load_splits
from experiments.compare_runs import differences
from experiments.options.presets import make_config
from experiments.runs import execute as running
from ssl_weighting.data.example_table import ExampleTable
from ssl_weighting.data.images.augmentation import Augmentation
from ssl_weighting.data.packed.manifest import read_manifest
from ssl_weighting.data.pipeline import BatchSource

PARTS = {"train": 160, "unlabeled": 60}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder of real digits as PNG files, with unlabeled ones, one of which is damaged."""
    folder = packs.make_digits(tmp_path_factory.mktemp("digits"), *PARTS.values())
    (folder / "unlabeled/damaged.png").write_bytes(b"no picture")
    return folder


def call(monkeypatch, **options):
    return runs.call(pack, monkeypatch, *(f"--{name}={value}" for name, value in options.items()))


def config_of(dataset, **more):
    return make_config(**runs.DIGITS | {"dataset": dataset, "image_size": 0} | more)


@pytest.mark.parametrize("store", ["pixels", "encoded"])
def test_sets_and_batches_of_a_pack_are_those_of_the_folder(digits, tmp_path, monkeypatch, store):
    call(monkeypatch, dataset=f"folder:{digits}", out=tmp_path / "pack", store=store)
    datasets = (f"folder:{digits}", f"packed:{tmp_path / 'pack'}")
    found = [load_splits(config_of(dataset)) for dataset in datasets]
    for part in ("labeled", "unlabeled", "validation", "test"):
        one, other = (getattr(splits, part).loaded() for splits in found)
        np.testing.assert_array_equal(one.inputs, other.inputs)
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.names.tolist() == other.names.tolist()
    assert isinstance(found[1].unlabeled.inputs, ExampleTable)
    assert found[0].hash_without_u == found[1].hash_without_u
    assert found[0].split_hash != found[1].split_hash
    sources = [BatchSource(one, 4, 12, 1, Augmentation.weak_only(True)) for one in found]
    ahead = [iter(source.dataset(7)) for source in sources]
    for step in (7, 8):
        batches = [source.at(step) for source in sources] + [next(made) for made in ahead]
        first, *others = [[t.numpy() for t in tf.nest.flatten(batch)] for batch in batches]
        for other in others:
            for x, y in zip(first, other, strict=True):
                np.testing.assert_array_equal(x, y)


def run(out, cache, dataset, **more):
    config = config_of(dataset, out=str(out), **more)
    with runs.built_by(runs.Workshop(own_sources=True).build):
        return running.execute(config, "train_images", cache_dir=str(cache))


@pytest.fixture(scope="module")
def in_memory(digits, tmp_path_factory):
    """The folder of the run on the folder of digits."""
    out = tmp_path_factory.mktemp("runs")
    run(out / "run", out, f"folder:{digits}")
    return out / "run"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["pixels", "encoded", "stream"])
def test_a_run_on_a_pack_is_the_run_on_the_folder(digits, in_memory, tmp_path, monkeypatch, how):
    dataset, more = f"packed:{tmp_path / 'pack'}", {}
    if how == "stream":
        dataset, more = f"folder:{digits}", {"source": "stream"}
    else:
        call(monkeypatch, dataset=f"folder:{digits}", out=tmp_path / "pack", store=how)
    run(tmp_path / "run", tmp_path / "cache", dataset, **more)
    assert differences(in_memory, tmp_path / "run") == []
    one, other = (
        json.loads((out / "config.json").read_text()) for out in (in_memory, tmp_path / "run")
    )
    assert one["split_hash"] != other["split_hash"]
    assert one["split_without_u"] == other["split_without_u"]
    left = (tmp_path / "run/skipped.csv").read_text()
    assert left == (in_memory / "skipped.csv").read_text() and "damaged.png" in left


def test_the_program_says_what_it_packed(digits, tmp_path, monkeypatch, capsys):
    call(monkeypatch, dataset=f"folder:{digits}", out=tmp_path / "pack", image_size=5)
    said = capsys.readouterr().out
    assert "160 train, 60 unlabeled, 5x5, grey, 0.0 MB of pixels; 1 could not be read" in said
    call(monkeypatch, dataset=f"folder:{digits}", out=tmp_path / "files")
    assert read_manifest(tmp_path / "files").store == "encoded"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"out": "x"}, "--dataset must be given"),
        ({"dataset": "npz:x"}, "--out must be given"),
        ({"dataset": "csv:x", "out": "x"}, "--dataset must be folder:PATH or npz:PATH"),
        ({"dataset": "npz:nowhere", "out": "x"}, "which is not there"),
        ({"dataset": "npz:x", "out": "x", "on_error": "skip"}, "--on_error would do nothing here"),
        ({"dataset": "folder:x", "out": "x", "image_size": -1}, "`image_size` must be at least 1"),
        ({"dataset": "folder:{set}", "out": "x", "jpeg_draft": True}, "without an `image_size`"),
        ({"dataset": "folder:{set}", "out": "set/pack"}, "--out must be no part of the folder"),
        ({"dataset": "npz:{set}.npz", "out": "x", "store": "encoded"}, "must be one of pixels"),
    ],
)
def test_wrong_options_are_refused(tmp_path, monkeypatch, capsys, options, message):
    packs.make_folder(tmp_path / "set")
    packs.make_npz(tmp_path / "set.npz")
    monkeypatch.chdir(tmp_path)
    options = {k: v.format(set=tmp_path / "set") if k == "dataset" else v
               for k, v in options.items()}  # fmt: skip
    with pytest.raises(SystemExit):
        call(monkeypatch, **options)
    assert message in capsys.readouterr().err


def test_packing_imports_no_tensorflow(tmp_path):
    packs.make_folder(tmp_path / "set")
    code = (
        "import sys; from absl import app; from experiments import pack; pack.define_flags()\n"
        "def main(argv):\n    pack.main(argv)\n    print('tensorflow' in sys.modules)\n"
        "app.run(main)"
    )
    arguments = [f"--dataset=folder:{tmp_path / 'set'}", f"--out={tmp_path / 'pack'}"]
    known = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "third_party")])}
    said = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=known, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines()[-1] == "False"
