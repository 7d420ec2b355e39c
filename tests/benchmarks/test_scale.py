"""Suite scale: its parts by name, their scratch folder, and what a measured process took."""

import json
import sys
import time
import types
from pathlib import Path

import memory_cases
import pytest

from experiments import benchmark
from experiments.benchmarks import scale
from experiments.benchmarks import suite as suites
from experiments.benchmarks.measure import Ratio
from experiments.benchmarks.memory import STATUS
from experiments.benchmarks.scale import child
from experiments.benchmarks.suite import Options, Result

needs_proc = pytest.mark.skipif(not STATUS.exists(), reason="reads /proc")


@pytest.fixture
def parts(monkeypatch):
    """Two parts that tell what they were given, in the place of the true ones."""
    seen = {}

    def part(name, row, ratio):
        def measure(options, say):
            say("measuring")
            Path(options.scratch, name).write_text("file")
            seen[name] = options
            return Result([row], {ratio: Ratio(1.5)}, {f"{name}_row": "no disk"})

        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(measure=measure))

    part("part_one", {"suite": "scale", "name": "one", "peak_mb": 12.3456, "rows": 7}, "a_over_b")
    part("part_two", {"suite": "scale", "name": "two", "cpu_seconds": 2.0}, "c_over_d")
    monkeypatch.setattr(scale, "PARTS", {"one": "part_one", "two": "part_two"})
    return seen


def test_the_parts_are_the_modules_of_the_room():
    here = Path(scale.__file__).parent
    assert {
        path.stem: f"experiments.benchmarks.scale.{path.stem}"
        for path in here.glob("*.py")
        if path.stem not in ("__init__", "child")
    } == scale.PARTS


def test_parts_are_measured_one_after_the_other_and_printed_as_one(parts, tmp_path, capsys):
    options = Options(scratch=str(tmp_path / "new"))
    benchmark.run("scale", options, str(tmp_path / "out.jsonl"))
    printed = capsys.readouterr()
    assert [line.split("] ")[1] for line in printed.err.splitlines()] == [
        "one", "measuring", "two", "measuring",
    ]  # fmt: skip
    assert (
        "| name | peak_mb | rows |\n| --- | ---: | ---: |\n| one | 12.35 | 7 |\n\n" in printed.out
    )
    assert "| two | 2 |" in printed.out and "MISSING part_one_row: no disk" in printed.out
    last = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[-1])
    assert last["ratios"] == {"a_over_b": 1.5, "c_over_d": 1.5}
    assert last["missing"].keys() == {"part_one_row", "part_two_row"}
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"part_one", "part_two"}


def test_a_part_is_chosen_by_name_and_a_temporary_folder_goes(parts):
    found = suites.run("scale", Options(rows="t*"))
    assert [row["name"] for row in found.rows] == ["two"] and parts.keys() == {"part_two"}
    assert not Path(parts["part_two"].scratch).exists()
    with pytest.raises(ValueError, match=r"--rows must match some of one, two. Received: 'three'"):
        suites.run("scale", Options(rows="three"))


def test_smoke_keeps_the_parts(parts):
    values = benchmark.flags.FlagValues()
    benchmark.define_flags(values)
    values(["benchmark", "--suite=scale", "--smoke", "--scratch=x"])
    found = benchmark.options_from(values)
    assert (found.smoke, found.rows, found.scratch) == (True, "*", "x")
    assert (found.labeled_batch, found.unlabeled_batch) == (1, 7)


@needs_proc
def test_a_child_tells_what_it_held_and_all_the_cpu_it_took(tmp_path):
    target = f"{memory_cases.__name__}:hold"
    arguments = {"megabytes": 100, "path": str(tmp_path / "file")}
    found = child.run(target, arguments, {"MARK": "here"})
    assert found.answer["variable"] == "here"
    # The array, and the copy of it that was written, but not the peak from before.
    assert found.peak_mb - found.answer["before"] == pytest.approx(200, abs=40)
    assert found.anonymous_mb == pytest.approx(found.answer["held"], abs=5)
    assert 100 < found.anonymous_mb < 190 and 100 < found.file_mb < 190
    assert found.cpu_seconds > 0.4 and found.wall_seconds > 0.3


def test_a_child_that_fails_says_why_and_leaves_no_process(tmp_path):
    target, path = f"{memory_cases.__name__}:leave_a_process", tmp_path / "pid"
    with pytest.raises(ChildProcessError, match=r"(?s)must exit with 0.*exit code 1.*nothing left"):
        child.run(target, {"path": str(path)})
    deadline = time.monotonic() + 60
    while _lives(path.read_text()):  # a killed process may need a moment to go
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lives(pid):
    try:
        status = Path("/proc", pid, "stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"
