"""Tables in chunks: read back as they were, of changes only what is needed, damage by name."""

import json

import numpy as np
import pytest
from chunk_tables import CHUNK, N, Table
from fuzz import fuzz
from hypothesis import strategies as st

from ssl_weighting.data import row_chunks
from ssl_weighting.data.row_chunks import ROWS, Changed, ChunkFolder, Saved, Stored, saved_from


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(row_chunks, "CHUNK", CHUNK)
    monkeypatch.setattr(row_chunks, "MUCH", 4)  # more than 4 of 16 rows


def files(folder):
    return {path.name for path in folder.folder.iterdir()}


def test_a_table_comes_back_bit_for_bit_and_chunks_that_are_alike_are_one_file(tmp_path):
    table, folder = Table(), ChunkFolder(tmp_path / "chunks")
    table.a[:] = 1
    table.a[99] = -0.0
    saved = table.save(folder)
    assert len(saved.chunks) == 7 and len(files(folder)) == 2
    folder.check(saved)
    table.same_as(Stored(folder, saved).whole())
    assert [start for start, _ in folder.load(saved)] == list(range(0, 112, 16))


def test_few_changes_are_the_delta_and_many_are_a_chunk(tmp_path):
    table, folder = Table(), ChunkFolder(tmp_path)
    first = table.save(folder)
    held = files(folder)
    table.write([3, 40, 99], 7)
    few = table.save(folder)
    assert few.chunks == first.chunks and files(folder) == held
    assert few.delta[ROWS].tolist() == [3, 40, 99] and few.delta["x/b"].tolist() == [-7] * 3
    table.same_as(Stored(folder, few).whole())
    # Rows 0 to 4 are five of 16, with those of the delta; 33 and 40 are two.
    table.write([0, 1, 2, 4, 33], 8)
    many = table.save(folder)
    assert [a == b for a, b in zip(many.chunks, few.chunks, strict=True)] == [False] + [True] * 6
    assert many.delta[ROWS].tolist() == [33, 40, 99] and len(files(folder)) == len(held) + 1
    table.same_as(Stored(folder, many).whole())
    # What was saved before is what it was.
    before = Stored(folder, few).whole()
    assert before["x/a"][[3, 0, 33]].tolist() == [7, 0, 33]


def test_a_save_reads_what_changed_and_one_chunk_besides(tmp_path):
    table, folder = Table(), ChunkFolder(tmp_path)
    table.save(folder)
    table.write([3, 40, 99], 7)
    table.asked.clear()
    table.save(folder)
    assert sum(table.asked) <= 2 * (3 + CHUNK)


rows = st.lists(st.integers(0, N - 1), max_size=30)


@fuzz(60, steps=st.lists(st.tuples(rows, st.booleans(), st.booleans()), max_size=8))
def test_any_row_of_writes_and_saves_comes_back(tmp_path_factory, steps):
    table, folder = Table(), ChunkFolder(tmp_path_factory.mktemp("t"))
    saved = table.save(folder)
    for number, (some, saves, forgets) in enumerate(steps):
        table.write(np.array(some, int), number + 2.0)
        if forgets:  # what a restored run of another form of checkpoint knows
            table.changed.add(None)
        if saves:
            saved = table.save(folder)
            folder.keep({file for file, _ in saved.chunks})
            table.same_as(Stored(folder, saved).whole())
    table.save(folder)


@pytest.mark.parametrize("name", ["a", "b"])
def test_what_nobody_took_note_of_is_found_and_saved(tmp_path, name):
    table, folder = Table(), ChunkFolder(tmp_path)
    table.save(folder)
    getattr(table, name)[:] = -1  # in every chunk: whichever is looked at
    table.write([5], 3)
    with pytest.warns(RuntimeWarning, match=f"rows of x/{name} were moved and nobody took note"):
        saved = table.save(folder)
    table.same_as(Stored(folder, saved).whole())


def test_files_that_no_save_names_are_deleted_and_no_others(tmp_path):
    table, folder = Table(), ChunkFolder(tmp_path)
    first = table.save(folder)
    table.write(range(16), 5)
    second = table.save(folder)
    (tmp_path / "partial-of-a-killed-process.npz").touch()
    folder.keep({file for file, _ in (*first.chunks, *second.chunks)})
    assert len(files(folder)) == 8
    folder.keep({file for file, _ in second.chunks})
    assert files(folder) == {file for file, _ in second.chunks}
    ChunkFolder(tmp_path / "none").keep(set())


def test_a_chunk_that_is_damaged_or_gone_is_named_and_written_again(tmp_path):
    table, folder = Table(), ChunkFolder(tmp_path)
    saved = table.save(folder)
    path = tmp_path / saved.chunks[2][0]
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"SHA-256 differs for chunk {path.name}"):
        folder.check(saved)
    table.changed.add(None)  # as after another checkpoint has been restored
    folder.check(table.save(folder))
    path.unlink()
    with pytest.raises(ValueError, match=f"chunk {path.name} cannot be read"):
        folder.check(saved)
    table.write([1], 2)
    folder.check(table.save(folder))


def test_what_json_carried_is_what_was_saved_and_another_table_is_refused(tmp_path):
    saved = Table().save(ChunkFolder(tmp_path))
    described = json.loads(json.dumps(saved.described()))
    assert saved_from(described, saved.delta)[:4] == saved[:4]
    for wrong in ({"rows": 200}, {"columns": {"x/a": "float32"}}, {"chunks": [1]}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            saved_from(described | wrong, saved.delta)


def test_another_table_is_saved_from_scratch(tmp_path):
    table, folder = Table(), ChunkFolder(tmp_path)
    table.save(folder)
    before = table.changed.since._replace(chunk=8)
    saved = folder.save(N, table.columns, np.array([1]), before)
    assert not len(saved.delta[ROWS]) and saved.chunk == CHUNK


def test_changes_are_remembered_each_once_or_all():
    changed = Changed(1000)
    assert changed.all and changed.rows() is None
    changed.add(np.array([4]))
    assert changed.all
    saved = Saved(1000, 10, {"a": "int8"}, (), {ROWS: np.arange(2), "a": np.zeros(2)})
    changed.clear(saved)
    assert changed.since.delta.keys() == {ROWS} and changed.rows().tolist() == []
    for k in range(200):
        changed.add(np.array([k % 7, 3, k % 7]))
    assert changed.rows().tolist() == list(range(7)) and len(changed._parts) <= 65
    for k in range(200):
        changed.add(np.arange(5 * k, 5 * k + 5))
    assert changed.all, "more than a quarter"
    changed.clear(saved)
    changed.add(None)
    assert changed.rows() is None
