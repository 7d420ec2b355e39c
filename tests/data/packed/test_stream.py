"""Images of one's own in memory or in a pack in the cache: what asks for which."""

import numpy as np
import packs
import pytest

from experiments.options import own_data
from experiments.options.kinds import IMAGES
from experiments.options.own_data import counts_of
from experiments.options.own_plan import plan
from experiments.options.presets import make_config
from ssl_weighting.data.example_table import ExampleTable
from ssl_weighting.data.images import folders, npz
from ssl_weighting.data.images.by_name import load_images
from ssl_weighting.data.memory import TooLargeError


@pytest.fixture
def datasets(tmp_path):
    folder = packs.make_folder(tmp_path / "set")
    return {"folder": f"folder:{folder}", "npz": f"npz:{packs.make_npz(tmp_path / 'own.npz')}"}


@pytest.fixture
def no_room(monkeypatch):
    def require(size, what, way_out):
        raise TooLargeError(f"{what} need more. {way_out}.")

    for module in (folders, npz):
        monkeypatch.setattr(module, "require", require)


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_a_stream_is_packed_once_and_is_the_set_in_memory(datasets, tmp_path, capsys, kind):
    found = [
        load_images(datasets[kind], image_size=3, cache_dir=tmp_path, source="stream")
        for _ in range(2)
    ]
    (pack,) = (tmp_path / "packed").iterdir()
    assert capsys.readouterr().out.count(f"pack in {pack}: as --source=stream asks") == 2
    expected = load_images(datasets[kind], image_size=3, source="memory")
    for raw in found:
        for part, examples in raw.parts.items():
            assert isinstance(examples.inputs, ExampleTable)
            np.testing.assert_array_equal(examples.inputs.loaded(), expected.parts[part].inputs)
            assert examples.names.tolist() == expected.parts[part].names.tolist()
        assert (raw.name, raw.notes) == (expected.name, expected.notes)


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_what_does_not_fit_is_streamed_unless_memory_is_asked_for(
    datasets, tmp_path, capsys, no_room, kind
):
    raw = load_images(datasets[kind], cache_dir=tmp_path)
    assert isinstance(raw.train.inputs, ExampleTable)
    assert "there is no room for all in memory" in capsys.readouterr().out
    for options in ({"source": "memory", "cache_dir": tmp_path}, {}):
        with pytest.raises(TooLargeError, match="Use --source=stream"):
            load_images(datasets[kind], **options)


def test_arguments_that_do_not_fit_are_refused(datasets):
    with pytest.raises(ValueError, match="`cache_dir` must be a folder where `source`"):
        load_images(datasets["npz"], source="stream")
    with pytest.raises(ValueError, match="`source` must be one of auto, memory, stream"):
        load_images(datasets["npz"], source="disk")
    with pytest.raises(FileNotFoundError, match="must name a pack"):
        load_images("packed:nowhere")


def test_packs_are_counted_as_what_they_were_made_of(datasets, tmp_path, no_room):
    kind, path = datasets["folder"].split(":", 1)
    packed = packs.pack_folder(path, tmp_path / "pack", "encoded")
    expected = counts_of({"dataset": f"{kind}:{path}"}, IMAGES)
    found = counts_of({"dataset": f"packed:{packed}"}, IMAGES)
    assert expected.unlabeled == found.unlabeled + 2, "files that could not be read"
    assert found == expected.__class__(**vars(expected) | {"unlabeled": found.unlabeled})
    found = counts_of({"dataset": datasets["npz"]}, IMAGES)
    assert (found.train, found.unlabeled, found.validation) == ((8, 8, 7), 12, 7)
    assert (found.test, found.size, found.files) == (6, 4.0, False)


def test_a_file_that_is_to_be_streamed_is_not_read_to_be_counted(datasets, monkeypatch):
    expected = counts_of({"dataset": datasets["npz"]}, IMAGES)
    monkeypatch.setattr(own_data, "load_images", None)
    found = counts_of({"dataset": datasets["npz"], "source": "stream"}, IMAGES)
    assert found == expected
    with pytest.raises(FileNotFoundError, match="which is not there"):
        counts_of({"dataset": "npz:nowhere", "source": "stream"}, IMAGES)


def test_the_recipe_takes_packs_at_their_size_or_refuses_them(tmp_path, datasets):
    path = datasets["folder"].split(":", 1)[1]
    packs.pack_folder(path, tmp_path / "small", image_size=8)
    packs.pack_folder(path, tmp_path / "large", image_size=33)
    asked = {"backbone": "none", "val_size": 2, "out": str(tmp_path / "run"), "minutes": 60.0}
    made = plan({"dataset": f"packed:{tmp_path / 'small'}"} | asked)
    assert "image_size" not in made.options
    with pytest.raises(ValueError, match=r"at most 32x32.*Pack them with --image_size=32"):
        plan({"dataset": f"packed:{tmp_path / 'large'}"} | asked)


def test_what_spoils_images_needs_them_in_memory():
    for options in (
        {"dataset": "packed:there"},
        {"dataset": "folder:there", "source": "stream"},
    ):
        with pytest.raises(ValueError, match="--contamination=corrupt needs --source=memory"):
            make_config(contamination="corrupt", recipe="paper", **options)
    make_config(contamination="corrupt", recipe="paper", dataset="folder:there")
