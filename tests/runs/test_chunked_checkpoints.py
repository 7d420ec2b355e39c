"""Checkpoints of a Lambda in chunks: whole after any death, and runs that do not know of them."""

import shutil

import numpy as np
import pytest
import runs
from chunk_tables import CHUNK, Table
from dying import dying_at
from runs import MOONS, Killed, Workshop, after, at_line

from experiments.compare_runs import compare_checkpoints, differences, newest_checkpoint
from experiments.runs import state as run_state
from ssl_weighting.checkpointing import CHUNKS, TABLES, Checkpoints, CorruptError, read
from ssl_weighting.data import row_chunks
from ssl_weighting.data.row_chunks import ROWS


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(row_chunks, "CHUNK", CHUNK)
    monkeypatch.setattr(row_chunks, "MUCH", 4)  # more than 4 of 16 rows


def save(checkpoints, step, table):
    return checkpoints.save(step, {"theta": np.arange(step), TABLES: table.tables})


def chunks_of(checkpoints):
    return {path.name for path in (checkpoints.folder / CHUNKS).iterdir()}


def named(*paths):
    return {file for path in paths for file, _ in read(path)[0][TABLES]["chunks"]}


def test_a_checkpoint_writes_what_changed_and_comes_back(small_chunks, tmp_path):
    table, checkpoints = Table(), Checkpoints(tmp_path, {"a": 1}, keep=2)
    first = save(checkpoints, 1, table)
    held = chunks_of(checkpoints)
    table.write([7, 50, 51], 5)
    second = save(checkpoints, 2, table)
    assert chunks_of(checkpoints) == held == named(first) == named(second)
    manifest, state = read(second)
    assert state[TABLES].saved.delta[ROWS].tolist() == [7, 50, 51]
    assert manifest["sha256"].keys() == {"theta", "delta/rows", "delta/x/a", "delta/x/b"}
    step, state, complaints = Checkpoints(tmp_path, {"a": 1}).restore()
    assert (step, complaints, state["theta"].tolist()) == (2, [], [0, 1])
    assert state.keys() == {"theta", TABLES}
    table.same_as(state[TABLES].whole())
    for step in (3, 4, 5):
        table.write(range(16), step)  # one chunk
        save(checkpoints, step, table)
    assert chunks_of(checkpoints) == named(*checkpoints.paths())
    assert len(chunks_of(checkpoints)) == 8  # of two checkpoints that differ in one of seven
    checkpoints.save(6, {"theta": np.zeros(1)})
    checkpoints.save(7, {"theta": np.zeros(1)})
    assert not chunks_of(checkpoints)


def test_a_damaged_chunk_falls_back_to_the_checkpoint_before_and_is_named(small_chunks, tmp_path):
    table, checkpoints = Table(), Checkpoints(tmp_path, {})
    first = save(checkpoints, 1, table)
    table.write(range(16), 5)
    second = save(checkpoints, 2, table)
    (new,) = named(second) - named(first)
    path = tmp_path / CHUNKS / new
    content = bytearray(path.read_bytes())
    content[-30] ^= 4
    path.write_bytes(content)
    step, _, (complaint,) = checkpoints.restore()
    assert (
        step == 1 and second.name in complaint and f"SHA-256 differs for chunk {new}" in complaint
    )
    shutil.rmtree(tmp_path / CHUNKS)
    with pytest.raises(CorruptError, match=r"No checkpoint .* is intact.*cannot be read"):
        checkpoints.restore()


def test_a_folder_whose_checkpoint_cannot_be_read_keeps_its_chunks(small_chunks, tmp_path):
    table, checkpoints = Table(), Checkpoints(tmp_path, {})
    save(checkpoints, 1, table).write_bytes(b"broken")
    held = chunks_of(checkpoints)
    table.write(range(100), 3)
    save(checkpoints, 2, table)
    assert held < chunks_of(checkpoints)


def test_tables_are_compared_by_their_bits_chunk_by_chunk(small_chunks, tmp_path):
    states = []
    for name, rows, value in (("a", (), 0), ("b", (3, 99), 5), ("c", (3, 98), 5)):
        table, checkpoints = Table(), Checkpoints(tmp_path / name, {})
        save(checkpoints, 1, table)
        table.write(rows, value)
        save(checkpoints, 2, table)
        states.append(read(checkpoints.paths()[-1])[1])
    a, b, c = states
    assert compare_checkpoints(a, a) == []
    assert compare_checkpoints(a, b) == [f"x/{k}: 2 of 100 entries differ" for k in "ab"]
    assert compare_checkpoints(b, c)[0] == "x/a: 2 of 100 entries differ"
    whole = {"theta": a["theta"], **a[TABLES].whole()}
    assert compare_checkpoints(whole, a) == []
    assert compare_checkpoints(b, whole) == compare_checkpoints(b, a)
    assert compare_checkpoints(a, a | {"theta": a["theta"] + 1}) == ["theta: 2 of 2 entries differ"]


def test_a_save_that_dies_anywhere_leaves_a_whole_checkpoint(small_chunks, tmp_path):
    calls = ("fsync", "replace", "unlink")

    def saves(folder):
        """Yield the table as it is after each save; every one writes a chunk and drops one."""
        table, checkpoints = Table(), Checkpoints(folder, {}, keep=1)
        for step in (1, 2, 3):
            table.write(range(16 * step, 16 * step + 16), step)
            table.write([step], step)
            save(checkpoints, step, table)
            yield step, table

    with dying_at(-1, calls) as done:
        list(saves(tmp_path / "whole"))
    assert len(done) > 25
    for place in range(1, len(done) + 1):
        folder, last = tmp_path / f"{place}", 0
        with pytest.raises(Killed), dying_at(place, calls):
            for step, _ in saves(folder):
                last = step
        found = Checkpoints(folder, {}).restore()
        step = found[0] if found else 0
        assert step in (last, last + 1)  # after its file stands there are chunks to delete
        for number, table in saves(tmp_path / f"again{place}"):
            if number == step:
                table.same_as(found[1][TABLES].whole())
        # The next save leaves nothing of the dead.
        checkpoints = Checkpoints(folder, {}, keep=1)
        path = save(checkpoints, 9, Table())
        assert chunks_of(checkpoints) == named(path)
        assert {p.name for p in folder.iterdir()} == {path.name, CHUNKS}


OPTIONS = MOONS | {"checkpoint_every": 2, "keep_checkpoints": 2, "score_every_step": True}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run with one file a checkpoint, and what hands it out again."""
    folder, workshop = tmp_path_factory.mktemp("unbroken"), Workshop()
    runs.run(folder, workshop, **OPTIONS)
    return folder, workshop


@pytest.fixture
def in_chunks(unbroken, monkeypatch):
    """Let a run with 40 unlabeled examples count as large."""
    monkeypatch.setattr(run_state, "LARGE", 16)
    monkeypatch.setattr(row_chunks, "CHUNK", 8)
    monkeypatch.setattr(row_chunks, "MUCH", 2)


def as_before(folder):
    """Write the newest checkpoint as earlier versions did, with counters in int32."""
    _, state = newest_checkpoint(folder)
    counters = [name for name in state if name.endswith(("/visits", "/count"))]
    assert len(counters) == 2 and all(state[name].any() for name in counters)
    old = {k: v for k, v in state.items() if not k.endswith("/since")}
    assert len(old) == len(state) - 1
    runs.rewrite(folder, old | {name: state[name].astype("int32") for name in counters})


def test_a_run_in_chunks_is_that_in_one_file_and_either_goes_on_from_the_other(
    unbroken, in_chunks, tmp_path, monkeypatch
):
    folder, workshop = unbroken
    assert not (folder / "checkpoints" / CHUNKS).exists()
    for step, large in ((4, 16), (8, 10**6), (9, 16)):
        monkeypatch.setattr(run_state, "LARGE", large)
        with pytest.raises(Killed), pytest.MonkeyPatch.context() as patched:
            at_line("train", step, after)(patched)
            runs.run(tmp_path, workshop, **OPTIONS)
        newest = Checkpoints(tmp_path / "checkpoints", {}).paths()[-1]
        assert (TABLES in read(newest)[1]) == (large == 16)
        if large > 16:
            as_before(tmp_path)
    monkeypatch.setattr(run_state, "LARGE", 16)
    assert runs.run(tmp_path, workshop, **OPTIONS)["status"] == "complete"
    newest = read(Checkpoints(tmp_path / "checkpoints", {}).paths()[-1])[1]
    assert len(newest[TABLES].saved.columns) == 10
    assert differences(folder, tmp_path) == []


@pytest.mark.slow
def test_a_run_in_chunks_killed_at_every_call_ends_the_same(unbroken, in_chunks, tmp_path):
    folder, workshop = unbroken
    with dying_at(-1) as calls:
        runs.run(tmp_path / "whole", workshop, **OPTIONS)
    for place in range(1, len(calls) + 1):
        out = tmp_path / str(place)
        with pytest.raises(Killed), dying_at(place):
            runs.run(out, workshop, **OPTIONS)
        assert runs.run(out, workshop, **OPTIONS)["status"] == "complete", place
        assert differences(folder, out) == [], place
        assert differences(tmp_path / "whole", out) == [], place
        shutil.rmtree(out)
