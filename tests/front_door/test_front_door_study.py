"""The study's way through the front door, with stand-ins for Python and pip."""

import pytest
from clones import Clone, programs


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path)


def test_run_all_walks_the_study(clone):
    arguments = ("--profile=study", "--only=cifar10_*", "--data_dir=my data", "--out=runs")
    result = clone.run(str(clone.root / "run_all.sh"), *arguments)
    assert result.returncode == 0, result.stderr
    data, out = clone.bin / "my data", clone.bin / "runs"
    assert programs(clone)[1:] == [
        f"-m experiments.run_study --data_dir={data} --out={out} --jobs=0 --only=cifar10_*",
        f"-m experiments.make_study --runs={out}/study --out={clone.root}/docs/study",
    ]
    failing = {"FAILING": "--dataset=fashion_mnist", "STATUS": "3", "SSL_WEIGHTING_DATA": "/c"}
    assert clone.run(str(clone.root / "run_all.sh"), "--profile=study", **failing).returncode == 0
    assert "run_study --data_dir=/c --out=" in programs(clone)[1]
    failing = {"FAILING": "experiments.run_study"}
    stopped = clone.run(str(clone.root / "run_all.sh"), "--profile=study", **failing)
    assert stopped.returncode == 1 and "the study stopped (see above)" in stopped.stderr
    assert "make_study" not in programs(clone)[-1]
    diverged = clone.run(str(clone.root / "run_all.sh"), "--profile=study", **failing, STATUS="3")
    assert diverged.returncode == 1 and "the page was written without them" in diverged.stderr
    assert "make_study" in programs(clone)[-1], "one run that diverges must not cost the page"
