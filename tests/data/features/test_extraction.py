"""Features in chunks: a killed call goes on, what does not fit is made again, nothing is lost."""

import zipfile

import numpy as np
import pytest
from runs import Killed

from ssl_weighting.data.features import extraction
from ssl_weighting.data.features.extraction import (
    Part,
    extract,
    forget_chunks,
    is_made,
    made_by,
    record,
    write_features,
)

DIGEST, OTHER = "ab" * 32, "cd" * 32


class Maker:
    """Makes features that tell their row; may die before a chunk."""

    def __init__(self, shape=(3,), dies_at=None):
        self.shape, self.dies_at, self.rows = shape, dies_at, []

    def __call__(self, rows):
        if len(self.rows) == self.dies_at:
            raise Killed
        self.rows.append(rows.tolist())
        records = np.zeros(len(rows), record(self.shape))
        records["x"] = rows.reshape(-1, *[1] * len(self.shape)) + np.arange(self.shape[-1]) / 10
        return records


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(extraction, "_CHUNK", 4)


def parts(maker, viewed):
    order = np.array([3, 1, 0, 2, 4, 6, 5, 7, 8])
    return [
        Part("train", order, 1, (3,), maker),
        Part("unlabeled", np.arange(3), 2, (2, 3), viewed),
    ]


def made(folder, digest=DIGEST, **options):
    makers = Maker(**options), Maker((2, 3))
    lines = []
    return extract(parts(*makers), digest, folder, lines.append), makers, lines


def test_features_stand_in_the_order_of_their_rows_whatever_order_they_are_made_in(tmp_path):
    found, makers, _ = made(tmp_path)
    assert found["train"]["x"][:, 0].tolist() == list(range(9))
    assert found["unlabeled"]["x"].shape == (3, 2, 3)
    assert makers[0].rows == [[3, 1, 0, 2], [4, 6, 5, 7], [8]]
    assert makers[1].rows == [[0, 1], [2]]  # two passes an example


def test_a_killed_call_goes_on_and_ends_where_the_unbroken_one_does(tmp_path):
    unbroken, _, _ = made(tmp_path / "unbroken")
    with pytest.raises(Killed):
        made(tmp_path / "killed", dies_at=2)
    assert len(list((tmp_path / "killed").iterdir())) == 2
    resumed, makers, lines = made(tmp_path / "killed")
    assert makers[0].rows == [[8]] and lines == []
    for part, records in unbroken.items():
        assert resumed[part].tobytes() == records.tobytes()


def test_a_damaged_chunk_is_made_again(tmp_path):
    whole, _, _ = made(tmp_path)
    (file,) = tmp_path.glob("*-000001.npz")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    again, makers, lines = made(tmp_path)
    assert makers[0].rows == [[4, 6, 5, 7]] and "is damaged" in lines[0]
    assert again["train"].tobytes() == whole["train"].tobytes()


def test_chunks_of_other_inputs_are_not_used_and_all_are_forgotten_in_the_end(tmp_path):
    made(tmp_path / "parts")
    _, makers, _ = made(tmp_path / "parts", OTHER)
    assert len(makers[0].rows) == 3
    (tmp_path / "parts" / "mine.txt").touch()
    forget_chunks(tmp_path / "parts")
    assert [file.name for file in (tmp_path / "parts").iterdir()] == ["mine.txt"]
    (tmp_path / "parts" / "mine.txt").unlink()
    forget_chunks(tmp_path / "parts")
    forget_chunks(tmp_path / "parts")  # which is not there any more
    assert list(tmp_path.iterdir()) == []


def test_features_must_be_finite_unless_their_example_could_not_be_read(tmp_path):
    def damaged(rows):
        records = np.zeros(len(rows), record((3,)))
        records["x"][1] = np.nan
        records["problem"][1] = problem
        return records

    problem = "no picture"
    extract([Part("test", np.arange(4), 1, (3,), damaged)], DIGEST, tmp_path / "a")
    problem = ""
    with pytest.raises(ValueError, match="NaN or infinity for row 1 of test"):
        extract([Part("test", np.arange(4), 1, (3,), damaged)], DIGEST, tmp_path / "b")


def test_the_file_knows_what_it_was_made_of_and_holds_arrays_alone(tmp_path):
    path = tmp_path / "features.npz"
    assert not is_made(path, DIGEST)
    write_features(path, {"x_train": np.ones([2, 3], np.float32)}, DIGEST, "a net")
    assert is_made(path, DIGEST) and not is_made(path, OTHER)
    assert made_by(path) == {"digest": DIGEST, "recipe": "a net"}
    with np.load(path) as file:
        assert file.files == ["x_train"] and file["x_train"].sum() == 6
    assert [file.name for file in tmp_path.iterdir()] == ["features.npz"]


def test_nothing_but_features_is_written_over(tmp_path):
    path = tmp_path / "features.npz"
    for write in (
        lambda: np.savez(path, x=np.ones(3)),
        lambda: path.write_text("mine"),
        lambda: _damaged(path),
        path.mkdir,
    ):
        path.unlink(missing_ok=True)
        write()
        with pytest.raises(ValueError, match="`out` must be a new file, or one of features"):
            is_made(path, DIGEST)


def _damaged(path):
    write_features(path, {"x_train": np.ones([50, 3], np.float32)}, DIGEST, "a net")
    with zipfile.ZipFile(path) as archive:
        place = archive.infolist()[0].header_offset + 300
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
