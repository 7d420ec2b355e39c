"""The machine in the record: what it is, which runs it parts, a run that goes on elsewhere."""

import json
import shutil
from types import SimpleNamespace

import pytest
import runs
from reporting_runs import write_run

from experiments.compare_runs import differences
from experiments.runs import machine
from experiments.runs.machine import continued, machines_of, this_machine, threads_of
from experiments.runs.pairs import comparable
from experiments.runs.record import read_run
from ssl_weighting.checkpointing import Checkpoints

TWO, FOUR = ({"threads": n, "cpu": "A"} for n in (2, 4))
OTHER_CPU = TWO | {"cpu": "B"}


@pytest.mark.parametrize(
    ("asked", "named", "usable", "expected"),
    [(3, "5", 8, 3), (0, "5", 8, 5), (0, "0", 8, 8), (0, "x", 8, 8), (0, None, 1, 1)],
)
def test_threads_in_tensorflow_s_order(monkeypatch, asked, named, usable, expected):
    threading = SimpleNamespace(get_intra_op_parallelism_threads=lambda: asked)
    tf = SimpleNamespace(config=SimpleNamespace(threading=threading))
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    if named is not None:
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", named)
    monkeypatch.setattr(
        machine.os, "sched_getaffinity", lambda _: set(range(usable)), raising=False
    )
    assert machine._threads(tf) == expected


def test_the_kind_of_cpu_is_short_and_without_the_clock_of_the_day(monkeypatch, tmp_path):
    core = "vendor_id\t: V\ncpu family\t: 6\nmodel\t: 85\nmodel name\t: X\n"
    core += "cpu MHz\t: {}\nflags\t: {}\n"
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "_CPUINFO", path)
    for name in (*machine._SWITCHES, "XLA_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    path.write_text(core.format(2000, "fpu avx2 vme fma") + "\n" + core.format(1, "avx512f"))
    assert machine._cpu() == "V 6 85 X; fma avx2"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    path.write_text(core.format(3000, "fma avx2"))
    assert machine._cpu() == "V 6 85 X; ONEDNN_MAX_CPU_ISA=AVX2; fma avx2"
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=secret --xla_cpu_max_isa=AVX2")
    assert machine._cpu().split("; ")[2] == "--xla_cpu_max_isa=AVX2"
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    path.unlink()
    assert machine._cpu().startswith(machine.platform.machine())


def with_machines(*machines):
    return [{"from_step": step} | one for step, one in machines]


@pytest.mark.parametrize(
    ("before", "step", "now", "expected", "said"),
    [
        (None, 0, TWO, [(0, TWO)], ()),
        ([(0, FOUR)], 0, TWO, [(0, TWO)], ()),  # it begins anew
        (None, 9, TWO, [(0, {}), (9, TWO)], ()),  # of an older run nothing is known
        ([(0, TWO)], 9, TWO, [(0, TWO)], ()),
        ([(0, FOUR)], 9, TWO, [(0, FOUR), (9, TWO)], ("threads",)),
        ([(0, TWO)], 9, OTHER_CPU, [(0, TWO), (9, OTHER_CPU)], ("cpu",)),
        ([(0, FOUR)], 9, OTHER_CPU, [(0, FOUR), (9, OTHER_CPU)], ("threads", "cpu")),
        # Steps from 9 on are taken again: nothing of the four threads is left.
        ([(0, TWO), (9, FOUR)], 9, TWO, [(0, TWO)], ()),
    ],
)
def test_a_run_that_goes_on_elsewhere_says_so(
    monkeypatch, tmp_path, before, step, now, expected, said
):
    monkeypatch.setattr(machine, "this_machine", lambda: now)
    machines = None if before is None else with_machines(*before)
    folder = write_run(tmp_path, "run", config={"machines": machines})
    heard = []
    assert continued(folder, step, heard.append) == with_machines(*expected)
    assert [line.split()[1] for line in heard] == list(said)
    assert all(line.startswith("WARNING: ") and "no longer bit for bit" in line for line in heard)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"machines": 3}', '{"machines": [3]}'])
def test_a_damaged_record_names_no_machine(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    assert machines_of(tmp_path) == []
    assert machines_of(tmp_path / "none") == []


PAIRS = [
    ([(0, TWO)], [(0, TWO)], []),
    ([(0, TWO)], [(0, FOUR)], ["threads"]),
    ([(0, TWO)], [(0, OTHER_CPU)], []),
    ([(0, TWO)], [(0, TWO), (9, OTHER_CPU)], []),
    ([(0, TWO)], [(0, TWO), (9, FOUR)], ["threads"]),
    ([(0, TWO), (8, FOUR)], [(0, TWO), (9, FOUR)], ["threads"]),
    ([(0, TWO), (9, FOUR)], [(0, TWO), (9, FOUR)], []),
    ([(0, TWO)], [(0, {}), (9, FOUR)], []),  # partly unknown
    ([(0, TWO)], [], []),
    ([(0, TWO | {"gpu": "G"})], [(0, FOUR | {"gpu": "G"})], []),  # they decide nothing there
]


@pytest.mark.parametrize(("one", "other", "names"), PAIRS)
def test_a_pair_has_as_many_threads_where_both_are_known(tmp_path, one, other, names):
    found = [
        read_run(write_run(tmp_path, name, config={"machines": with_machines(*machines)}))
        for name, machines in (("one", one), ("other", other))
    ]
    assert comparable(*found) == comparable(*found[::-1]) == names


@pytest.fixture
def copies(tmp_path):
    folder = runs.unbroken_run()[0]
    return [shutil.copytree(folder, tmp_path / name) for name in "ab"]


def rewrite(folder, machines):
    path = folder / "config.json"
    content = json.loads(path.read_text()) | {"machines": with_machines(*machines)}
    path.write_text(json.dumps(content))


def test_runs_of_different_threads_are_no_bit_for_bit_pair(copies):
    a, b = copies
    (only,) = machines_of(a)
    assert only == {"from_step": 0} | this_machine() and threads_of([only]).isdigit()
    rewrite(a, [(0, TWO)])
    rewrite(b, [(0, OTHER_CPU)])
    assert differences(a, b) == [], "the CPU explains a difference, it is none"
    rewrite(b, [(0, FOUR | {"cpu": "B"})])
    assert differences(a, b) == ["threads differ: 2 against 4"]
    (b / "metrics.jsonl").write_text("")
    assert differences(a, b)[:2] == [
        "threads differ: 2 against 4", "kinds of CPU differ: A against B",
    ]  # fmt: skip


def test_a_run_goes_on_with_other_threads_and_says_so(copies, monkeypatch, capsys):
    a, b = copies
    Checkpoints(b / "checkpoints", {}).paths()[-1].unlink()
    monkeypatch.setattr(machine, "this_machine", lambda: this_machine() | {"threads": 77})
    _, workshop = runs.unbroken_run()
    assert runs.run(b, workshop, **runs.DIGITS)["status"] == "complete"
    assert "WARNING: threads differ from step 18 on: " in capsys.readouterr().out
    threads = this_machine()["threads"]
    assert differences(a, b) == [f"threads differ: {threads} against {threads}, 77 from step 18"]


def test_a_finished_run_that_is_asked_for_again_stays_its_machine_s(copies, monkeypatch, capsys):
    a, b = copies
    monkeypatch.setattr(machine, "this_machine", lambda: TWO | {"threads": 77, "gpu": "G"})
    _, workshop = runs.unbroken_run()
    summary = runs.run(b, workshop, **runs.DIGITS)
    assert summary["status"] == "complete" and machines_of(a) == machines_of(b)
    assert "differ from step" not in capsys.readouterr().out and differences(a, b) == []
    assert not [line for line in summary["warnings"] if "machines" in line]
