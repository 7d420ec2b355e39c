"""A run that goes on reads its images as it began to, however much memory is free now."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import packs
import pytest
import runs
from memory_limits import limit_memory

from experiments.compare_runs import differences
from experiments.options.presets import make_config
from experiments.runs import execute as running
from experiments.runs.image_reading import as_read, has_drafts, image_reading
from ssl_weighting.checkpointing import Checkpoints
from ssl_weighting.data.memory import TooLargeError
from ssl_weighting.theta.devices import Devices

PLENTY, NONE = "max", 0  # of memory


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder of real digits, some of them unlabeled."""
    return packs.make_digits(tmp_path_factory.mktemp("digits"), 150, 50)


def run(monkeypatch, tmp_path, memory, out, digits, **more):
    options = {"dataset": f"folder:{digits}", "image_size": 0, "algorithm": "pseudo_label"}
    config = make_config(**runs.DIGITS | options | {"steps": 12} | more, out=str(out))
    limit_memory(monkeypatch, tmp_path, memory)
    with runs.built_by(runs.Workshop(own_sources=True).build):
        return running.execute(config, "train_images", cache_dir=str(tmp_path / "cache"))


def without_its_end(folder, copy):
    shutil.copytree(folder, copy)
    Checkpoints(copy / "checkpoints", {}).paths()[-1].unlink()
    (copy / "summary.json").unlink()
    return copy


def began_in_memory(path):
    config = json.loads(path.read_text())
    assert config["images"] == {"source": "stream", "jpeg_draft": False}
    path.write_text(json.dumps(config | {"images": {"source": "memory", "jpeg_draft": False}}))


def test_room_that_ends_while_a_run_is_built_is_told_too(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"images": {"source": "memory"}}))
    config = make_config(dataset=f"folder:{tmp_path}", image_size=32, out=str(tmp_path))

    def build(config, splits):
        raise TooLargeError("The unlabeled inputs need more. Use --source=stream.")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(running, "build", build)
        for name in ("load_splits", "_refuse_not_finite", "refuse_different", "premises"):
            patched.setattr(running, name, lambda *arguments: None)
        with pytest.raises(TooLargeError, match=r"more.*began with its images in memory and goes"):
            running._made(config, None, False, Devices())


def test_a_run_goes_on_as_auto_chose_first(monkeypatch, tmp_path, digits, capsys):
    run(monkeypatch, tmp_path, NONE, tmp_path / "stream", digits)
    assert "images are read from a pack" in capsys.readouterr().out
    again = without_its_end(tmp_path / "stream", tmp_path / "again")
    run(monkeypatch, tmp_path, PLENTY, again, digits)
    assert "resuming at step 6" in capsys.readouterr().out
    assert differences(tmp_path / "stream", again) == []
    again = without_its_end(tmp_path / "stream", tmp_path / "other")
    with pytest.raises(ValueError, match=r"--source must be stream or auto .* began so\. Received"):
        run(monkeypatch, tmp_path, PLENTY, again, digits, source="memory")
    began_in_memory(again / "config.json")
    with pytest.raises(
        TooLargeError, match=r"began with its images in memory and goes on .* --out"
    ):
        run(monkeypatch, tmp_path, NONE, again, digits)
    with pytest.raises(TooLargeError, match=r"--source=stream, which keeps them on disk[^:]*$"):
        run(monkeypatch, tmp_path, NONE, tmp_path / "new", digits, source="memory")


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ({"images": {"source": "stream"}}, "stream"),
        ({"images": {"source": "memory"}}, "memory"),
        ({"images": None}, "auto"),
        ({}, "auto"),  # of an earlier version
        ({"images": {"source": "tape"}}, "auto"),
        ([1], "auto"),
        (None, "auto"),
    ],
)
def test_what_a_folder_says_is_followed(tmp_path, recorded, expected):
    if recorded is not None:
        (tmp_path / "config.json").write_text(json.dumps(recorded))
    config = make_config(dataset=f"folder:{tmp_path}", image_size=32)
    assert as_read(config, tmp_path).source == expected
    config = make_config(dataset="digits")
    assert as_read(config, tmp_path) is config


def splits_of(inputs):
    return SimpleNamespace(unlabeled=SimpleNamespace(inputs=inputs))


def test_drafts_of_a_pack_are_drafts_of_its_runs(tmp_path):
    packs.make_folder(tmp_path / "photos")
    splits = splits_of(np.zeros((2, 4, 4, 1), np.uint8))
    for drafts in (False, True):
        out = tmp_path / f"pack{drafts}"
        packs.pack_folder(tmp_path / "photos", out, image_size=4, jpeg_draft=drafts)
        found = image_reading(make_config(dataset=f"packed:{out}"), splits)
        assert found == {"source": "memory", "jpeg_draft": drafts}
        options = {"jpeg_draft": False}
        assert has_drafts({"images": found, "config": options}) == drafts
    config = make_config(dataset=f"folder:{tmp_path}", image_size=4, jpeg_draft=True)
    assert image_reading(config, splits)["jpeg_draft"]
    assert image_reading(make_config(dataset="digits"), splits) is None
    assert has_drafts({"config": {"jpeg_draft": True}}) and not has_drafts({"config": {}})
