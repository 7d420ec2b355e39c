"""Several processes on one list of runs: what they leave to each other, how they stop."""

import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import runs

from experiments import run_profile
from experiments.options.presets import make_config
from experiments.runs.lock import held
from experiments.runs.side_by_side import run_together

WAITING = 'trap "echo saved; exit 143" TERM; echo ready; sleep 30 >/dev/null & wait'


@pytest.mark.parametrize(
    "script, fine, expected",
    [("exit 0", (0,), 0), ("exit 4", (0,), 4), ("exit 4", (0, 4), 0), ("exit 1", (0, 4), 1)],
)
def test_the_first_code_that_is_not_fine_is_returned(script, fine, expected):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    assert run_together([["bash", "-c", script]] * 2, fine, every=0.01) == expected
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_when_one_fails_the_others_are_told_to_stop(tmp_path):
    # The one that can make the folder waits, the other fails.
    first = f"mkdir {tmp_path}/first || {{ sleep 0.3; exit 7; }}; exec >{tmp_path}/said"
    assert run_together([["bash", "-c", f"{first}; {WAITING}"]] * 2, every=0.01) == 7
    assert (tmp_path / "said").read_text() == "ready\nsaved\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_each_of_them_once(number):
    code = f"""
import sys
from experiments.runs.side_by_side import run_together
sys.exit(run_together([["bash", "-c", {WAITING!r}]] * 2, every=0.01))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    process.send_signal(number)
    assert process.communicate(timeout=20)[0] == "saved\n" * 2
    assert process.returncode == 143


def test_one_that_stops_sooner_does_not_have_the_others_told_twice(tmp_path):
    """A second signal ends a run without a checkpoint."""
    first = f"mkdir {tmp_path}/first || {{ {WAITING}; }}"
    slow = 'trap "echo told" TERM; echo ready; for k in $(seq 9); do sleep 0.1; done; exit 143'
    code = f"""
import sys
from experiments.runs.side_by_side import run_together
sys.exit(run_together([["bash", "-c", {f"{first}; {slow}"!r}]] * 2, every=0.01))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    process.send_signal(signal.SIGTERM)
    assert sorted(process.communicate(timeout=20)[0].split()) == ["saved", "told"]
    assert process.returncode == 143


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_they_are_being_started_reaches_all(number):
    code = f"""
import os, sys
from experiments.runs import side_by_side
start = side_by_side.subprocess.Popen
def interrupted(command):
    child = start(command)
    os.kill(os.getpid(), {int(number)})
    return child
side_by_side.subprocess.Popen = interrupted
sys.exit(side_by_side.run_together([["sleep", "30"]] * 2, every=0.01))
"""
    process = subprocess.run([sys.executable, "-c", code], timeout=20)
    assert process.returncode == -signal.SIGTERM % 256


@pytest.fixture
def profile(monkeypatch, tmp_path):
    """Return run_profile's main on two runs that are only said to be trained, and which were."""
    configs = [make_config(out=str(tmp_path / str(k)), seed=k, **runs.MOONS) for k in (1, 2)]
    monkeypatch.setattr(run_profile, "configs", lambda *arguments: configs)
    trained = []

    def train(config):
        with held(tmp_path / str(config.seed)):
            trained.append(config.seed)
            (tmp_path / str(config.seed) / "summary.json").write_text('{"status": "complete"}')
        return {}

    monkeypatch.setattr(run_profile, "train", train)
    monkeypatch.setattr(run_profile, "refuse_if_changed", lambda config: None)
    return trained, lambda *more: runs.call(run_profile, monkeypatch, "--family=toy", *more)


def test_a_run_of_another_process_is_left_to_it(profile, tmp_path, capsys):
    trained, main = profile
    with held(tmp_path / "1"):
        assert main() == run_profile.IN_USE and trained == [2]
    out = capsys.readouterr().out
    assert f"{tmp_path / '1'}: another process trains it" in out
    assert "1 runs are left to the processes that train them" in out
    assert main() == 0 and trained == [2, 1]


def test_jobs_share_the_runs_that_are_left(profile, monkeypatch, capsys):
    trained, main = profile
    calls = []

    def together(commands, fine, late):
        calls.append((commands, fine))
        return main()

    monkeypatch.setattr(run_profile, "run_together", together)
    monkeypatch.setattr(sys, "argv", ["run_profile.py", "--family=toy", "--jobs=8"])
    assert main("--jobs=8") == 0 and trained == [1, 2]
    (first, second), fine = calls[0]
    asked = ["--family=toy", "--jobs=8", "--jobs=1", "--nogalleries"]
    assert first[1:] == ["-m", "experiments.run_profile", *asked]
    assert second == [*first, "--backwards"]
    assert fine == (0, run_profile.IN_USE)
    assert "2 of 2 runs to train, 2 at a time" in capsys.readouterr().out
    assert main("--jobs=8") == 0 and len(calls) == 1, "nothing is left to start them for"


def test_seeds_of_a_method_follow_each_other_from_either_end():
    family = [SimpleNamespace(out=f"x/{method}/{seed}") for seed in (1, 2) for method in "abc"]
    order = ["x/a/1", "x/a/2", "x/b/1", "x/b/2", "x/c/1", "x/c/2"]
    assert [config.out for config in run_profile.in_order(family)] == order
    found = [config.out for config in run_profile.in_order(family, backwards=True)]
    assert found == order[4:] + order[2:4] + order[:2]


def test_the_first_learned_run_of_each_family_has_a_gallery(tmp_path, monkeypatch, capsys):
    from experiments.gallery import write

    def write_gallery(run, out, cache):
        (run / "gallery.html").write_text(cache)
        return SimpleNamespace(examples=3000, path=run / "gallery.html")

    def family(name, **options):
        return [
            make_config(out=str(tmp_path / name / weighting), weighting=weighting, **options)
            for weighting in ("fixed", "per_example", "single")
        ]

    monkeypatch.setattr(write, "write_gallery", write_gallery)
    families = [family("toy", **runs.MOONS), family("digits", **runs.DIGITS)]
    (tmp_path / "digits/per_example").mkdir(parents=True)
    (tmp_path / "digits/per_example/summary.json").touch()
    run_profile.make_galleries(families, "cache")
    assert [p.parent for p in tmp_path.rglob("*.html")] == [tmp_path / "digits/per_example"]
    assert "3,000 examples" in capsys.readouterr().out
    run_profile.make_galleries(families, "cache")
    assert not capsys.readouterr().out, "a page that is there stays"


def test_progress_counts_the_runs_of_all_processes(monkeypatch):
    finished, now = {"a"}, [100.0]
    monkeypatch.setattr(run_profile, "done", lambda config, rows: config in finished and "done")
    monkeypatch.setattr(run_profile.time, "monotonic", lambda: now[0])
    progress = run_profile.Progress(list("abcdefg"), {})
    assert str(progress) == "1 of 7 runs, 0:00"
    finished |= {"b", "f"}
    now[0] += 90
    assert str(progress) == "3 of 7 runs, 1:30, ETA 3:00"


@pytest.mark.parametrize(("cores", "gigabytes", "expected"), [(2, 24, 2), (8, 12, 4), (4, 2, 1)])
def test_a_core_and_enough_memory_make_a_process(monkeypatch, cores, gigabytes, expected):
    monkeypatch.setattr(run_profile.os, "sched_getaffinity", lambda _: set(range(cores)))
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": gigabytes * 2**18}
    monkeypatch.setattr(run_profile.os, "sysconf", sizes.get)
    assert run_profile._jobs_here() == expected


def test_a_failure_of_one_process_is_the_programs(profile, monkeypatch):
    _, main = profile
    monkeypatch.setattr(run_profile, "run_together", lambda *_, **__: 143)
    assert main("--jobs=2") == 143
    monkeypatch.setattr(run_profile, "run_together", lambda *_, **__: 0)
    assert main("--jobs=2") == run_profile.IN_USE, "somebody else's runs are not finished"


def test_unknown_families_are_refused_with_the_known_ones(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        runs.call(run_profile, monkeypatch, "--family=toy,nope")
    assert "must be one of toy, mnist" in capsys.readouterr().err
