"""Scoring a pile: chunks, shards, merging, going on after a kill, refusals."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
from dying import dying_at
from PIL import Image
from runs import DIGITS, Killed, call

from experiments import score
from experiments.assemble.build import load_splits
from experiments.options.kinds import IMAGES
from experiments.options.presets import make_config
from experiments.runs.saved_model import read_run
from experiments.serving import pile_scorer, score_files
from experiments.serving import source as serving
from ssl_weighting.scoring import keys_of, views_of


@pytest.fixture(scope="module")
def images():
    return load_splits(make_config(**DIGITS)).test.inputs[:19]


@pytest.fixture(scope="module")
def scorers(unbroken, recorded):
    """What the program loads, compiled once for all tests."""
    return pile_scorer.pile_scorers(unbroken, read_run(unbroken), recorded)


@pytest.fixture
def small_chunks(monkeypatch, scorers):
    """Eight images a file, four in memory; the compiled scorer of the run."""
    monkeypatch.setitem(serving.CHUNK, IMAGES, 4)
    monkeypatch.setitem(score.ROWS, IMAGES, 8)
    monkeypatch.setattr(pile_scorer, "pile_scorers", lambda *_: scorers)


@pytest.fixture
def scored(monkeypatch, unbroken, small_chunks):
    """Call the program; return its exit code."""

    def scored(out, *arguments, run=unbroken):
        given = [f"--run={run}"] if run else []
        return call(score, monkeypatch, *given, f"--out={out}", *arguments)

    return scored


@pytest.fixture
def pile(tmp_path, images):
    np.savez(tmp_path / "pile.npz", x=images)
    return f"--input=npz:{tmp_path / 'pile.npz'}"


def table(path):
    return pq.read_table(path).to_pydict()


def files_of(out):
    return {path.name: path.read_bytes() for path in out.iterdir()}


def refused(capsys, *arguments, **options):
    scored, *rest = arguments
    with pytest.raises(SystemExit) as caught:
        scored(*rest, **options)
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error and error.count("\n") == 1
    return error


def test_one_pass_says_what_the_library_says(scored, pile, tmp_path, images, recorded, capsys):
    out = tmp_path / "out"
    assert scored(out, pile, "--merge") == 0
    said = capsys.readouterr().out
    assert "scored 3 of 3 chunks, 0 were there" in said and "merged 3 chunks, 19 rows" in said
    found = table(out / "scores.parquet")
    assert list(found) == list(score_files.COLUMNS)
    assert found["id"] == list(range(19)) and found["name"] == [str(k) for k in range(19)]
    model = keras.models.load_model(recorded.folder / "model.keras", compile=False)
    views = views_of(pile_scorer.augmentation_from(recorded.settings["views"], {}), DIGITS_SEED)
    weak, strong = views(images, keys_of(found["name"]))
    made = pile_scorer._made(recorded, model, 19)
    expected = made.scores(weak, strong)
    p = keras.ops.softmax(model(weak, training=False)["logits"]).numpy()
    assert found["pseudo_label"] == p.argmax(axis=1).tolist()
    assert found["class"] == [str(k) for k in found["pseudo_label"]]
    np.testing.assert_allclose(found["confidence"], p.max(axis=1), rtol=1e-5)
    z = model(strong, training=False)["logits"].numpy()
    log_p = keras.ops.log_softmax(z).numpy()
    loss = -log_p[np.arange(19), found["pseudo_label"]]
    np.testing.assert_allclose(found["loss"], loss, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        found["influence"], expected.influence, rtol=0, atol=1e-5 * np.abs(expected.influence).max()
    )
    assert found["problem"] == [None] * 19
    assert pq.ParquetFile(out / "scores.parquet").num_row_groups == 3


DIGITS_SEED = make_config(**DIGITS).seed


def test_shards_merged_are_one_pass(scored, pile, tmp_path):
    scored(tmp_path / "one", pile, "--merge")
    for shard in (2, 0, 1):
        assert scored(tmp_path / "three", pile, f"--shard={shard}/3") == 0
    assert scored(tmp_path / "three", "--merge", run=None) == 0
    assert files_of(tmp_path / "one") == files_of(tmp_path / "three")


def test_a_score_depends_on_the_name_alone(scored, images, tmp_path):
    names = np.array([f"n{k}" for k in range(19)])
    order = np.random.default_rng(0).permutation(19)
    found = []
    for k, rows in enumerate((np.arange(19), order, order[3:4], order[::-1][:10])):
        path = tmp_path / f"{k}.npz"
        np.savez(path, x=images[rows], names=names[rows])
        scored(tmp_path / str(k), f"--input=npz:{path}", "--merge")
        columns = table(tmp_path / str(k) / "scores.parquet")
        by_name = zip(*(columns[n] for n in list(columns)[1:]), strict=True)
        found.append({row[0]: row for row in by_name})
    for part in found[1:]:
        assert part == {name: found[0][name] for name in part}


def test_what_cannot_be_read_has_a_line(scored, images, tmp_path, capsys):
    for k, image in enumerate(images[:6]):
        path = tmp_path / "new" / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image.squeeze()).save(path)
    (tmp_path / "new" / "2.png").write_bytes(b"no picture")
    inputs = f"--input=folder:{tmp_path / 'new'}"
    assert scored(tmp_path / "out", inputs, "--merge") == 2
    assert "1 examples have no scores: see `problem` there" in capsys.readouterr().out
    found = table(tmp_path / "out" / "scores.parquet")
    assert found["name"] == [f"{k}.png" for k in range(6)]
    assert [p is None for p in found["problem"]] == [k != 2 for k in range(6)]
    assert [x is None for x in found["influence"]] == [k == 2 for k in range(6)]
    assert scored(tmp_path / "out", inputs) == 2  # of what is there too
    assert "2.png" in refused(capsys, scored, tmp_path / "no", inputs, "--on_error=stop")


def test_what_is_not_finite_has_a_line(scored, scorers, pile, tmp_path, monkeypatch, capsys):
    """As of features of 1e30; the net of the images has none."""

    def overflowing(inputs, names):
        found = scorers[IMAGES](inputs, names)
        bad = np.array([name == "5" for name in names])
        return found._replace(influence=np.where(bad, np.float32(np.inf), found.influence))

    monkeypatch.setattr(pile_scorer, "pile_scorers", lambda *_: {IMAGES: overflowing})
    assert scored(tmp_path / "out", pile, "--merge") == 2
    found = table(tmp_path / "out" / "scores.parquet")
    assert [k for k, problem in enumerate(found["problem"]) if problem] == [5]
    assert "must be finite. Received: {'confidence': 0." in found["problem"][5]
    assert "'influence': inf" in found["problem"][5]
    columns = ("class", "pseudo_label", "confidence", "loss", "influence")
    assert all(found[name][5] is None and found[name][4] is not None for name in columns)
    said = refused(capsys, scored, tmp_path / "stop", pile, "--on_error=stop")
    assert "5: scores must be finite" in said and "--on_error=skip" in said


def test_several_inputs_follow_each_other(scored, pile, images, tmp_path):
    np.savez(tmp_path / "more.npz", x=images[:9])
    scored(tmp_path / "out", pile, f"--input={tmp_path / 'more.npz'}", "--merge")
    found = table(tmp_path / "out" / "scores.parquet")
    names = [f"{tmp_path / 'pile.npz'}:{k}" for k in range(19)]
    names += [f"{tmp_path / 'more.npz'}:{k}" for k in range(9)]
    assert found["name"] == names and found["id"] == list(range(28))
    # 8, 8, 3 of the first input and 8, 1 of the second
    assert sorted(p.name for p in (tmp_path / "out").glob("chunk*"))[-1] == "chunk-0000004.parquet"


def test_a_killed_process_goes_on(scored, pile, tmp_path):
    scored(tmp_path / "whole", pile, "--merge")
    calls = 2 * 4  # three chunks and what is merged
    for count in range(1, calls + 1):
        out = tmp_path / str(count)
        with dying_at(count) as done, pytest.raises(Killed):
            scored(out, pile, "--merge")
        assert len(done) >= count
        before = {p.name: p.stat().st_mtime_ns for p in out.glob("chunk-*")}
        assert scored(out, pile, "--merge") == 0
        assert files_of(out) == files_of(tmp_path / "whole")
        now = {p.name: p.stat().st_mtime_ns for p in out.glob("chunk-*")}
        assert {name: now[name] for name in before} == before
    with dying_at(calls + 1):
        scored(tmp_path / "last", pile, "--merge")


@pytest.mark.parametrize("shard", ["3/3", "-1/3", "1", "0/0", "a/b"])
def test_a_shard_that_is_none_is_refused(scored, pile, tmp_path, shard, capsys):
    assert "--shard must be I/N" in refused(
        capsys, scored, tmp_path / "out", pile, f"--shard={shard}"
    )


@pytest.fixture
def done(scored, pile, tmp_path):
    """A folder of all chunks."""
    scored(tmp_path / "out", pile)
    return tmp_path / "out"


def test_missing_chunks_are_named(scored, done, capsys):
    for k in (0, 2):
        score_files.chunk_path(done, k).unlink()
    error = refused(capsys, scored, done, "--merge", run=None)
    assert "must hold all 3 chunks" in error and "without 0, 2." in error
    for path in done.iterdir():
        path.unlink()
    assert "without any" in refused(capsys, scored, done, "--merge", run=None)


def test_ranges_are_short():
    assert score_files._ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"


def test_chunks_of_other_inputs_are_refused(scored, done, images, tmp_path, capsys):
    np.savez(tmp_path / "pile.npz", x=images[::-1])
    changed = f"--input=npz:{tmp_path / 'pile.npz'}"
    error = refused(capsys, scored, done, changed)
    assert "chunk-0000000.parquet must be of this run and this input, with `input`" in error
    scored(tmp_path / "other", changed)
    shutil.copy(tmp_path / "other" / "chunk-0000001.parquet", done)
    assert "must hold the scores of one run and one input" in refused(
        capsys, scored, done, "--merge", run=None
    )


def test_chunks_of_another_run_are_refused(scored, done, pile, unbroken, tmp_path, capsys):
    copy = Path(shutil.copytree(unbroken, tmp_path / "run"))
    path = copy / "scorer" / "scorer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": 77}))
    assert "with `scorer`" in refused(capsys, scored, done, pile, run=copy)


@pytest.mark.parametrize("place", ["head", "middle", "end", "name"])
def test_a_damaged_chunk_is_refused(scored, done, pile, place, capsys):
    path = score_files.chunk_path(done, 1)
    content = bytearray(path.read_bytes())
    if place == "name":
        shutil.copy(score_files.chunk_path(done, 0), path)
    elif place == "middle":
        content[60] ^= 1  # in the data of a page
        path.write_bytes(content)
    else:
        path.write_bytes(content[:50] if place == "head" else content[:-5])
    error = refused(capsys, scored, done, "--merge", run=None)
    assert "chunk-0000001.parquet must be a chunk of scores" in error
    assert not (done / "scores.parquet").exists()
    if place != "middle":  # seen before anything is scored, too
        assert "must be a chunk of scores" in refused(capsys, scored, done, pile)


OUTS = {"": "a folder that is there", "no/such": "a folder that is there", ".": "something else"}


@pytest.mark.parametrize("out", OUTS)
def test_other_folders_are_left_alone(scored, pile, tmp_path, out, capsys):
    if out:
        error = refused(capsys, scored, tmp_path / out, pile)
        assert OUTS[out] in error
    else:
        with pytest.raises(Exception, match="--out must be given"):
            scored("", pile)


def test_merging_needs_no_tensorflow(done):
    code = (
        "import sys; from experiments.serving.score_files import merge; from pathlib import Path; "
        f"import experiments.score; merge(Path({str(done)!r})); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    root = Path(score.__file__).parents[1]
    made = subprocess.run([sys.executable, "-c", code], cwd=root, env=os.environ, check=False)
    assert made.returncode == 0 and (done / "scores.parquet").exists()
