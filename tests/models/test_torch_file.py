"""PyTorch's first file format, read without PyTorch: right, or refused by name and never run."""

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from torch_files import MACHINE, View, torch_file

from ssl_weighting.models.torch_file import read_torch_file

FLOATS, NUMBERS = np.arange(12, dtype=np.float32), np.array([7], np.int64)
STORAGES = {"10": FLOATS, "11": NUMBERS}


class Trap:
    """Unpickling it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class Changed:
    """A dictionary with attributes, as PyTorch writes it."""

    def __init__(self, inner, state):
        self.inner, self.state = inner, state

    def __reduce__(self):
        return OrderedDict, (), self.state, None, iter(self.inner.items())


@pytest.fixture
def read(tmp_path):
    def read(content):
        path = tmp_path / "net.pth"
        path.write_bytes(content)
        return read_torch_file(path)

    return read


def test_tensors_are_views_of_storages(read):
    tensors = {
        "whole": View("10", [3, 4]),
        "transposed": View("10", [4, 3], strides=(1, 4)),
        "inside": View("10", [2, 2], strides=(4, 1), offset=5),
        "count": View("11", []),
        "none": View("10", [0, 3]),
    }
    found = read(torch_file(STORAGES, OrderedDict(tensors)))
    table = FLOATS.reshape(3, 4)
    np.testing.assert_array_equal(found["whole"], table)
    np.testing.assert_array_equal(found["transposed"], table.T)
    np.testing.assert_array_equal(found["inside"], table[1:, 1:3])
    assert found["count"].shape == () and found["count"] == 7 and found["count"].dtype == np.int64
    assert found["none"].shape == (0, 3) and list(found) == list(tensors)
    found["whole"][:] = 0  # arrays of their own
    np.testing.assert_array_equal(found["transposed"], table.T)


def test_what_a_state_dictionary_has_beside_its_tensors_is_no_matter(read):
    extra = Changed({"a": View("11", [1])}, {"_metadata": OrderedDict(version=1)})
    assert read(torch_file({"11": NUMBERS}, extra))["a"].tolist() == [7]


def test_a_pickle_that_would_run_something_is_refused_and_not_run(read, tmp_path):
    with pytest.raises(ValueError, match=r"net.pth must hold tensors.*mkdir, which no tensor"):
        read(torch_file(STORAGES, {"a": Trap(tmp_path / "made")}))
    with pytest.raises(ValueError, match="mkdir where only numbers may stand"):
        read(pickle.dumps(Trap(tmp_path / "made"), protocol=2))
    with pytest.raises(ValueError, match="where only numbers"):
        read(torch_file(STORAGES, {}, machine=Trap(tmp_path / "made")))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("view", "claims"),
    [
        (View("10", [3, 5]), {}),
        (View("10", [3, 4], offset=1), {}),
        (View("10", [2**40], strides=(0,)), {}),
        (View("10", [2, 2], strides=(-1, 1), offset=4), {}),
        (View("10", [-1, -12]), {}),
        (View("10", [12], offset=-1), {}),
        (View("10", [2, 2], strides=(1,)), {}),
        (View("10", [3, 4]), {"10": 13}),
    ],
)
def test_a_tensor_that_leaves_its_storage_is_refused(read, view, claims):
    with pytest.raises(ValueError, match="must hold tensors in PyTorch's first format"):
        read(torch_file(STORAGES, {"a": view}, claims=claims))


def test_other_formats_are_refused_by_name(read, tmp_path):
    whole = torch_file(STORAGES, {"a": View("10", [12])})
    for content, message in [
        (b"PK\3\4" + whole, "newer format, a zip archive"),
        (torch_file(STORAGES, {}, magic=1), "head of another format"),
        (torch_file(STORAGES, {}, machine=MACHINE | {"little_endian": False}), "another format"),
        (torch_file(STORAGES, {"a": 1}), "no dictionary of tensors"),
        (b"", "must hold tensors"),
    ]:
        with pytest.raises(ValueError, match=message):
            read(content)
    with pytest.raises(FileNotFoundError):
        read_torch_file(tmp_path / "none.pth")


def test_a_file_that_is_cut_off_is_refused_wherever_it_ends(read):
    whole = torch_file({"10": FLOATS}, {"a": View("10", [12])})
    for length in range(0, len(whole), 3):
        with pytest.raises(ValueError, match="Get the file again"):
            read(whole[:length])
