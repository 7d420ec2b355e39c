"""run_all.sh --profile=paper and the scripts of cells, without an installation."""

import shutil

import pytest
from clones import FAKE_PYTHON, ROOT, Clone, programs


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path)


def test_walks_the_cells_and_compares(clone):
    arguments = ("--profile=paper", "--only=table1_* fig3_*", "--out=r", "--", "--seed=1")
    result = clone.run(str(clone.root / "run_all.sh"), *arguments)
    assert result.returncode == 0, result.stderr
    out = clone.bin / "r"
    assert programs(clone) == [
        f"-m experiments.run_paper --out={out} --only=table1_* fig3_* -- --seed=1",
        f"-m experiments.compare_upstream --out={out}",
    ]


@pytest.mark.parametrize("flag", ["--dry_run", "--smoke"])
def test_compares_nothing_where_no_result_is_made(clone, flag):
    result = clone.run(str(clone.root / "run_all.sh"), "--profile=paper", flag)
    assert result.returncode == 0, result.stderr
    (only,) = programs(clone)
    assert only.startswith("-m experiments.run_paper") and flag in only


def test_says_when_cells_failed(clone):
    result = clone.run(str(clone.root / "run_all.sh"), "--profile=paper", FAILING="--")
    assert result.returncode == 1
    assert "some cells failed (see above)" in result.stderr
    assert len(programs(clone)) == 1


@pytest.mark.parametrize("argument", ["--smoke", "--dry_run", "--only=table1_*"])
def test_refuses_its_arguments_elsewhere(clone, argument):
    result = clone.run(str(clone.root / "run_all.sh"), argument)
    assert result.returncode == 2
    assert f"{argument} needs --profile=paper" in result.stderr
    assert clone.logged() == []


def test_the_study_has_no_smoke_form(clone):
    result = clone.run(str(clone.root / "run_all.sh"), "--profile=study", "--smoke")
    assert result.returncode == 2 and clone.logged() == []
    assert "--smoke needs --profile=paper" in result.stderr


@pytest.mark.parametrize("profile", ["default", "paper"])
def test_refuses_the_folder_of_the_study_elsewhere(clone, profile):
    arguments = (f"--profile={profile}", "--data_dir=/x")
    result = clone.run(str(clone.root / "run_all.sh"), *arguments)
    assert result.returncode == 2
    assert "--data_dir=/x needs --profile=study" in result.stderr
    assert clone.logged() == []


def test_a_cell_runs_in_the_environment_that_is_made_for_it(clone):
    for name in ("experiments/python.sh", "experiments/cells/table1_svhn_250_vat.sh"):
        (clone.root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, clone.root / name)
    script = str(clone.root / "experiments/cells/table1_svhn_250_vat.sh")
    result = clone.run(script, "--seed=2", "--results=my results")
    assert result.returncode == 0, result.stderr
    (call,) = programs(clone)
    assert call.startswith("-m experiments.run_cell --cell=table1_svhn_250_vat --seeds=1,2,3,4,5")
    assert call.endswith("--weighting=fixed --seed=2 --results=my results")
    clone.stand_in("mine", FAKE_PYTHON)
    mine = clone.run(script, PYTHON=str(clone.bin / "mine"))
    assert mine.returncode == 0 and len(clone.logged()) == 1
