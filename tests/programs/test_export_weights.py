"""The export of a run's ranking: rows, order, files, flags, and runs of earlier versions."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import runs
from reporting_runs import weights, write_run
from repository import ROOT
from scipy.stats import norm

from experiments import export_weights
from experiments.assemble.excluded import names_in

LEARNED = {"algorithm": "fixmatch", "weighting": "per_example"}
N = 10
MEAN = np.array([0.3, -0.2, 0.5, np.nan, 0.1, -0.4, 0.0, 0.2, 0.9, -0.1])
ERROR = np.array([0.1, 0.1, np.nan, np.nan, 0.2, 0.1, 0.0, 0.05, 0.1, 0.0])
ORDER = [8, 2, 0, 7, 4, 6, 9, 1, 5, 3]  # 3 was never visited
NAMES = [f"unlabeled/{k}.png" for k in range(N - 1)] + ["=9.png"]


def new_table():
    table = weights(N)
    table["visits"] = np.array([3, 3, 1, 0, 5, 5, 5, 2, 9, 4], np.int32)
    labeled = np.arange(N) == 8
    return table | {
        "labeled": labeled, "influence": MEAN, "influence_mean": MEAN, "influence_error": ERROR,
        "suspect": (np.nan_to_num(MEAN - 2 * ERROR, nan=-1) > 0) & (table["visits"] >= 3),
        "name": NAMES, "source": np.where(labeled, "labeled", "unlabeled"),
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    return write_run(
        tmp_path, "run", **LEARNED, table=new_table(), config={"class_names": ["cat", "dog"]}
    )


def export(monkeypatch, folder, out, *flags):
    runs.call(export_weights, monkeypatch, f"--run={folder}", f"--out={out}", *flags)
    return pd.read_csv(out) if out.suffix == ".csv" else pd.read_parquet(out)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_all_rows_in_order_of_the_mean_influence(folder, tmp_path, monkeypatch, suffix, capsys):
    found = export(monkeypatch, folder, tmp_path / f"all{suffix}")
    table = new_table()
    assert found.id.tolist() == ORDER
    for name in ("lam", "visits", "influence_mean", "influence_error", "confidence", "loss"):
        np.testing.assert_allclose(found[name], table[name][ORDER], rtol=1e-6)
    assert found.source.tolist() == ["labeled"] + ["unlabeled"] * 9
    assert found.suspect.dtype == bool
    assert found.id[found.suspect].tolist() == [8, 0] == found.id[found.is_harmful_issue].tolist()
    assert found.pseudo_label[2] == "dog" and found.true_label[2] == "cat"  # id 0 is wrong
    with np.errstate(invalid="ignore", divide="ignore"):
        score = norm.sf(np.where(MEAN == 0, 0, MEAN / ERROR))
    score = np.where(np.isnan(ERROR), np.nan, score)
    np.testing.assert_allclose(found.harmful_score, score[ORDER], rtol=1e-5)
    assert "10 of 10 examples" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flag", "ids"),
    [
        ("--worst=2", [2, 0]),
        ("--worst=99", [2, 0, 7, 4]),
        ("--best=2", [5, 1]),
        ("--below=0.8", [2, 0, 1]),  # λ rises with the id; 3 was not visited
    ],
)
def test_choices_leave_out_what_is_labeled_or_was_not_visited(
    folder, tmp_path, monkeypatch, flag, ids
):
    assert export(monkeypatch, folder, tmp_path / "some.csv", flag).id.tolist() == ids


@pytest.mark.parametrize("flag", ["--worst=2", "--best=99", "--below=0.8"])
def test_a_table_in_row_groups_or_out_of_order_gives_the_same(folder, tmp_path, monkeypatch, flag):
    path, out, keep = (folder / "example_weights.parquet", tmp_path / "t.csv", tmp_path / "k.txt")
    flags = (flag,) if "best" in flag else (flag, f"--keep_list={keep}")
    table, found = pd.read_parquet(path), []
    for order in (np.arange(N), np.random.default_rng(0).permutation(N)):
        for size in (N, 3):
            table.iloc[order].to_parquet(path, index=False, row_group_size=size)
            export(monkeypatch, folder, out, *flags)
            found.append((out.read_text(), keep.read_text() if len(flags) > 1 else ""))
    assert len(set(found)) == 1


def test_names_come_back_from_the_table_and_the_others_are_kept(folder, tmp_path, monkeypatch):
    keep = tmp_path / "keep.txt"
    export(monkeypatch, folder, tmp_path / "w.csv", "--below=9", f"--keep_list={keep}")
    gone = names_in(str(tmp_path / "w.csv"))
    assert set(gone) == set(NAMES) - {NAMES[3], NAMES[8]} and "=9.png" in gone
    assert keep.read_text().splitlines() == [NAMES[3], NAMES[8]]


def test_a_ranking_of_less_than_half_says_so(tmp_path, monkeypatch, capsys):
    table = new_table()
    table["visits"][4:] = 0
    folder = write_run(tmp_path, "run", **LEARNED, table=table)
    export(monkeypatch, folder, tmp_path / "all.csv")
    assert "Only 3 of 10 examples of U were visited (30%)" in capsys.readouterr().out


def test_a_run_of_before_is_ranked_by_lambda_and_says_what_it_lacks(tmp_path, monkeypatch, capsys):
    table = weights(N)
    table["lam"] = np.float32([0.5, 0.2, 1, 0.2, 1, 1, 2, 1, 1, 1])
    table["influence"] = np.linspace(-1, 1, N)
    folder = write_run(tmp_path, "run", **LEARNED, table=table)
    found = export(monkeypatch, folder, tmp_path / "all.csv")
    assert found.id.tolist() == [3, 1, 0, 9, 8, 7, 5, 4, 2, 6] and "suspect" not in found
    said = capsys.readouterr().out
    assert "recorded no name, source, influence_mean" in said and "The ranking is by λ" in said
    assert export(monkeypatch, folder, tmp_path / "w.csv", "--worst=5").id.tolist() == [3, 1, 0]
    with pytest.raises(SystemExit):
        export(monkeypatch, folder, tmp_path / "w.csv", "--worst=5", "--keep_list=k.txt")
    assert "needs the names of examples, which runs of earlier" in capsys.readouterr().err


def test_spotlight_is_given_the_pictures(folder, tmp_path, monkeypatch, capsys):
    assert "image" not in export(monkeypatch, folder, tmp_path / "a.csv", "--format=spotlight")
    flags = {"dataset": f"folder:{tmp_path}"}
    own = write_run(tmp_path, "own", **LEARNED, table=new_table(), flags=flags)
    found = export(monkeypatch, own, tmp_path / "b.parquet", "--format=spotlight")
    assert found.image.tolist() == [str(tmp_path / name) for name in found.name]
    flags = {"dataset": f"folder:{tmp_path}/gone"}
    gone = write_run(tmp_path, "gone_run", **LEARNED, table=new_table(), flags=flags)
    with pytest.raises(SystemExit):
        export(monkeypatch, gone, tmp_path / "c.csv", "--format=spotlight")
    assert "must find the pictures of the run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--out="], "--out must be given"),
        (["--run="], "--run must be given"),
        (["--out=t.txt"], "--out must end in .csv or .parquet. Received: t.txt"),
        (["--out=nowhere/t.csv"], "--out must name a file in a folder that is there"),
        (["--worst=3", "--below=1"], "One of --worst and --below must be left out"),
        (["--worst=0"], "--worst must be greater than 0. Received: 0"),
        (["--below=nan"], "--below must be greater than 0"),
        (["--keep_list=k.txt"], "--keep_list needs --worst or --below"),
        (["--best=3", "--keep_list=k.txt"], "Received: --best"),
        (["--worst=3", "--keep_list=t.csv"], "--keep_list must be another file than --out"),
        (["--format=xml"], "--format must be one of plain, spotlight. Received: 'xml'"),
        (["--run=."], "--run must be the folder of a finished run"),
    ],
)
def test_flags_that_are_refused(folder, tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        runs.call(export_weights, monkeypatch, f"--run={folder}", "--out=t.csv", *flags)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "t.csv").exists()


def test_only_an_earlier_export_is_replaced(folder, tmp_path, monkeypatch, capsys):
    own, texts = folder / "example_weights.parquet", tmp_path / "texts.csv"
    texts.write_text("text,label\ngood,pos\n")
    (tmp_path / "plain.parquet").write_text("no table")
    for path in (own, texts, tmp_path / "plain.parquet"):
        before = path.read_bytes()
        with pytest.raises(SystemExit):
            export(monkeypatch, folder, path)
        assert "must be a new file, or an earlier export that is" in capsys.readouterr().err
        assert path.read_bytes() == before
    for name in ("t.csv", "t.parquet"):
        (tmp_path / name).touch()
        assert len(export(monkeypatch, folder, tmp_path / name)) == N
        assert len(export(monkeypatch, folder, tmp_path / name, "--worst=2")) == 2


def test_runs_without_learned_weights_have_no_ranking(tmp_path, monkeypatch, capsys):
    idle = write_run(tmp_path, "fixed", table=weights(N, visits=0))
    none = write_run(tmp_path, "supervised")
    for folder, message in ((idle, "no Λ-step visited any"), (none, "runs have that train on unl")):
        with pytest.raises(SystemExit):
            export(monkeypatch, folder, tmp_path / "t.csv")
        assert message in capsys.readouterr().err


def test_tensorflow_is_not_imported(folder, tmp_path):
    code = (
        "import sys; from absl import app; from experiments import export_weights as e;"
        "e.define_flags(); app.run(lambda a: sys.exit(e.main(a) or 'tensorflow' in sys.modules))"
    )
    arguments = [f"--run={folder}", f"--out={tmp_path / 't.parquet'}"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
