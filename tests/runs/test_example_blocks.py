"""The table of U in blocks says what it says in one piece, and so do what is read off it."""

import itertools
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from fuzz import fuzz
from hypothesis import strategies as st

from experiments.runs import example_blocks
from experiments.runs.example_blocks import lam_by_group, ranges, weight_statistics
from experiments.runs.example_weights import (
    WEIGHT_COLUMNS,
    read_blocks,
    read_example_weights,
    write_example_weights,
)
from experiments.runs.extremes import SIDES, Extremes, ranked
from experiments.runs.run_files import RunError
from ssl_weighting import weight_sample
from ssl_weighting.data.examples import DataSplits, Examples
from ssl_weighting.madam import MAdam
from ssl_weighting.weight_store import WeightStore

N, BATCH = 23, 4


class Evaluator:
    """Logits that say in how large a batch they were made."""

    batch_size = BATCH

    def logits(self, inputs, preprocessed=False):
        made = [inputs[k : k + BATCH] for k in range(0, len(inputs), BATCH)]
        size = min(BATCH, len(inputs))
        return np.concatenate([np.stack([x[:, 0], x[:, 1] * size], 1) for x in made])


@pytest.fixture
def run():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 2)).astype(np.float32)
    label = np.arange(N, dtype=np.int32) % 2
    names = np.array([f"u{k}" for k in range(N)], object)
    unlabeled = Examples(x, label, texts=None, names=names)
    labeled, validation = (Examples(x[rows], label[rows]) for rows in ([3, 20], [7, 8]))
    groups = tuple("ab"[k % 3 == 0] for k in range(N))
    splits = DataSplits(
        "toy", labeled, unlabeled, validation, validation, ("a", "b"), "memory", groups=groups
    )
    store = WeightStore(N, "per_example", MAdam(0.1))
    for _ in range(9):
        store.update(tf.constant(rng.integers(0, N, 5)), tf.constant(rng.normal(size=5), "float32"))
    source = SimpleNamespace(strong_views=lambda ids: tf.constant(x[ids] * 1.5))
    return SimpleNamespace(
        splits=splits, evaluator=Evaluator(), config=SimpleNamespace(uses_unlabeled=True),
        trainer=SimpleNamespace(store=store, source=source),
    )  # fmt: skip


def test_a_table_in_blocks_is_the_table_in_one_piece(run, tmp_path, monkeypatch):
    """To the bit, in the file too: no batch of the evaluator is cut where it was not before."""
    write_example_weights(tmp_path / "one", example_blocks.example_blocks(run))
    assert pq.ParquetFile(tmp_path / "one").num_row_groups == 1
    for block, groups in ((9, 3), (5, 5), (1, 5)):
        monkeypatch.setattr(example_blocks, "BLOCK", block)
        write_example_weights(tmp_path / "more", example_blocks.example_blocks(run))
        assert pq.ParquetFile(tmp_path / "more").num_row_groups == groups
        one, more = (pq.read_table(tmp_path / name) for name in ("one", "more"))
        assert one.schema.equals(more.schema, check_metadata=True)
        for name in one.column_names:
            a, b = (table[name].to_numpy() for table in (one, more))
            assert a.dtype == b.dtype
            assert a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes()
    assert set(WEIGHT_COLUMNS) < set(one.column_names)
    assert one["source"].to_pylist()[7:9] == ["validation"] * 2
    assert np.flatnonzero(one["labeled"]).tolist() == [3, 20]
    assert one["visits"].type == "int32"


@fuzz(100, total=st.integers(1, 60), batch=st.integers(1, 9), block=st.integers(1, 30))
def test_blocks_are_whole_batches_and_none_is_smaller_than_one(total, batch, block):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(example_blocks, "BLOCK", block)
        found = ranges(total, batch)
    assert [start for start, _ in found] == [0, *(stop for _, stop in found[:-1])]
    assert found[-1][1] == total and all(start % batch == 0 for start, _ in found)
    assert len(found) == 1 or min(stop - start for start, stop in found) >= batch
    assert max(stop - start for start, stop in found) < max(block, batch) + batch


def columns_of(rng, size, recorded):
    coarse = rng.integers(-3, 4, size) / 4  # many are equal
    return {
        "visits": rng.integers(0, 3, size).astype(np.int32),
        "labeled": rng.random(size) < 0.2,
        "lam": (1 + rng.integers(-2, 3, size) / 4).astype(np.float32),
        "influence": rng.integers(-2, 3, size) / 2,
        **(
            {"influence_mean": np.where(rng.random(size) < 0.3, np.nan, coarse)} if recorded else {}
        ),
    }


@fuzz(
    100, seed=st.integers(0, 10**6), cuts=st.lists(st.integers(1, 40)), most=st.integers(1, 12),
    kind=st.sampled_from(["recorded", "late", "unknown", "not"]), side=st.sampled_from(SIDES),
)  # fmt: skip
def test_extremes_of_blocks_are_the_first_of_the_whole(seed, cuts, most, kind, side):
    weights = columns_of(np.random.default_rng(seed), 40, kind != "not")
    if kind == "unknown":  # of a run that began in an earlier version
        weights["influence_mean"][:] = np.nan
    if kind == "late":  # known of the last examples alone
        weights["influence_mean"][:30] = np.nan
    found, edges = Extremes(1.0, side, most), sorted({0, *cuts, 40})
    for start, stop in itertools.pairwise(edges):
        found.add({name: values[start:stop] for name, values in weights.items()})
    assert found.rows().tolist() == ranked(weights, 1.0, side)[:most].tolist()


@pytest.mark.parametrize("mode", ["per_example", "single"])
def test_the_summary_is_exact_where_the_log_is_of_a_sample(mode, monkeypatch):
    store, rng = WeightStore(1000, mode, MAdam(0.1)), np.random.default_rng(0)
    store.lam.assign(rng.random(store.lam.shape))
    store.visits.assign(rng.integers(0, 2, 1000))
    whole = weight_statistics(store)
    assert weight_statistics(store, exact=True) == whole
    lam = store.table().numpy().astype(np.float64)
    assert whole["lam_quantiles"][3] == np.median(lam) and whole["lam_mean"] == lam.mean()
    monkeypatch.setattr(weight_sample, "SAMPLE", 10)
    monkeypatch.setattr(example_blocks, "BLOCK", 300)
    other = WeightStore(1000, mode, MAdam(0.1))
    other.lam.assign(store.lam)
    other.visits.assign(store.visits)
    ids = np.arange(10) * 100
    sampled, exact = weight_statistics(other), weight_statistics(other, exact=True)
    assert sampled["lam_mean"] == lam[ids].mean()
    assert sampled["coverage"] == store.visits.numpy()[ids].mean()
    assert exact["lam_quantiles"] == whole["lam_quantiles"]
    assert exact["coverage"] == whole["coverage"]
    assert exact["lam_mean"] == pytest.approx(whole["lam_mean"], rel=1e-14)


def test_lambda_of_groups_is_the_mean_of_their_rows(run, monkeypatch):
    store, groups = run.trainer.store, np.array(run.splits.groups)
    lam, moved = store.table().numpy().astype(np.float64), store.visits.numpy() > 0
    for block in (100, 5):
        monkeypatch.setattr(example_blocks, "BLOCK", block)
        found = lam_by_group(run)["lam_by_group"]
        assert [*found] == ["b", "a"]
        for name, row in found.items():
            of = groups == name
            assert (row["count"], row["moved"]) == (of.sum(), (of & moved).sum())
            assert row["lam_mean"] == pytest.approx(lam[of].mean(), rel=1e-14)
            assert row["lam_mean_of_moved"] == pytest.approx(lam[of & moved].mean(), rel=1e-14)
    store.visits.assign(np.zeros(N))
    assert lam_by_group(run)["lam_by_group"]["a"]["lam_mean_of_moved"] is None


def block_of(ids, **others):
    size = len(ids)
    columns = {name: np.zeros(size, kind) for name, kind in WEIGHT_COLUMNS.items()}
    return columns | {"id": np.array(ids)} | others


def test_blocks_are_read_one_by_one_and_columns_alone(tmp_path):
    path = tmp_path / "w.parquet"
    nothing, late = np.array([None, None], object), np.array(["x"], object)
    write_example_weights(path, [block_of([0, 1], text=nothing), block_of([2], text=late)])
    assert [block["id"].tolist() for block in read_blocks(path)] == [[0, 1], [2]]
    assert {*next(read_blocks(path, {"lam", "group"}))} == {"lam"}
    found = read_example_weights(path, {"text"})
    assert found.keys() == {"id", "text"} and found["text"].tolist()[2] == "x"
    write_example_weights(path, [block_of([3, 1]), block_of([2, 0])])
    assert read_example_weights(path)["id"].tolist() == [0, 1, 2, 3]
    write_example_weights(path, [block_of([0, 1]), block_of([1, 2])])
    with pytest.raises(RunError, match="the same id twice"):
        read_example_weights(path)
    write_example_weights(path, [block_of([0]), block_of([1], lam=np.array([np.nan]))])
    with pytest.raises(RunError, match="weights that are not finite"):
        list(read_blocks(path))


def test_a_table_that_cannot_be_made_leaves_the_one_before(tmp_path):
    path = tmp_path / "w.parquet"
    write_example_weights(path, [block_of([0])])

    def blocks():
        yield block_of([0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_example_weights(path, blocks())
    assert [p.name for p in tmp_path.iterdir()] == ["w.parquet"]
    assert len(read_example_weights(path)["id"]) == 1
