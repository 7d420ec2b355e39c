"""The peers of suite influence: the common problem, the workers, the comparison. Needs no peer."""

import io
import json
import shutil
import subprocess
import sys
import types
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from absl import app, flags

from experiments import benchmark
from experiments.benchmarks import exchange, peer_rows, workers
from experiments.benchmarks.measure import Timing
from experiments.benchmarks.peers import ours, worker
from experiments.benchmarks.suite import Options
from experiments.benchmarks.workers import Worker, WorkerError
from ssl_weighting.models.network import Network
from ssl_weighting.per_example_gradients import per_example_dot_products, per_example_gradients

TINY = Options(
    repetitions=3, memory=False, unlabeled_batch=3, depth=10, width=1, image_size=8, num_classes=4
)
# Answers by lines that the test writes, as a worker does.
ECHO = "import json, os, sys, time\nfor line in sys.stdin:\n    do = json.loads(line)['do']\n    "


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """(path, arrays, reference) of a tiny net and three examples."""
    path = tmp_path_factory.mktemp("problem") / "problem.npz"
    arrays = exchange.write(path, TINY, 3)
    return path, arrays, exchange.reference(arrays)


@pytest.fixture
def start():
    """Starts a worker that runs a Python program; ends it after the test."""
    started = []

    def start(program, timeout=30.0):
        started.append(Worker([sys.executable, "-c", program], workers.TOP, 3, timeout))
        return started[-1]

    yield start
    [one.close() for one in started]


def test_keys_count_layers_in_the_order_of_construction(problem):
    _, arrays, _ = problem
    model = exchange.net(TINY)
    found = {id(v) for v in exchange.keyed_variables(model).values()}
    assert found == {id(v) for v in model.variables}
    kernels = [arrays[key].shape for key in sorted(arrays) if key.startswith("params/conv_")]
    # Stem; a block without shortcut; two blocks whose shortcut comes before their convolutions.
    three = [(3, 3, a, b) for a, b in ((3, 16), (16, 16), (16, 16))]
    for a, b in ((16, 32), (32, 64)):
        three += [(1, 1, a, b), (3, 3, a, b), (3, 3, b, b)]
    assert [shape for shape in kernels if len(shape) == 4] == three
    assert [arrays[f"state/bn_{i:03d}_mean"].size for i in range(7)] == [16, 16, 16, 32, 32, 64, 64]


def test_the_problem_survives_its_file(problem):
    path, arrays, _ = problem
    with np.load(path) as file:
        found = dict(file)
    assert found.keys() == arrays.keys() and found["images"].dtype == np.float32
    for key, variable in exchange.keyed_variables(exchange.load(found)).items():
        np.testing.assert_array_equal(variable.numpy(), arrays[key])
        assert key.endswith("kernel") or np.ptp(arrays[key]) > 0  # no zeros, no ones


def test_the_reference_is_the_dot_product_with_every_gradient(problem):
    _, arrays, expected = problem
    model = exchange.load(arrays)
    network = Network(model)
    keys = {id(v): key for key, v in exchange.keyed_variables(model).items()}
    vector = [arrays[keys[id(v)].replace("params/", "vector/")] for v in network.variables]
    inputs = arrays["images"], arrays["cotangent"]
    dot = per_example_dot_products(network, *inputs, vector)
    np.testing.assert_allclose(expected["dot"], dot, rtol=1e-4)
    assert expected["dot_sum"] == pytest.approx(np.sum(dot), rel=1e-4)
    flat = [np.reshape(g, [3, -1]) for g in per_example_gradients(network, *inputs)]
    norm = np.linalg.norm(np.concatenate(flat, axis=1), axis=1)
    np.testing.assert_allclose(expected["norm"], norm, rtol=1e-4)
    logits = model(arrays["images"], training=False)["logits"]
    np.testing.assert_allclose(expected["logits"], logits, rtol=1e-4, atol=1e-5)


def test_disagreement_is_relative_and_never_nan():
    expected = {"dot": np.array([-4.0, 2.0]), "dot_sum": np.float64(-2.0), "logits": 4 * np.eye(2)}
    assert exchange.disagreement({"dot": [-4.0, 2.0]}, expected) == {"dot": (0.0, 0.0)}
    off = {"dot": [-4.0, 3.0], "dot_sum": -5.0, "logits": [[3.0, 0.0], [2.0, 4.0]]}
    found = exchange.disagreement(off, expected)
    assert found == {"dot": (0.125, 0.25), "dot_sum": (0.5, 0.5), "logits": (0.375, 0.5)}
    for wrong in ([-4.0, float("nan")], [float("inf"), 2.0], -4.0, [-4.0, 2.0, 0.0]):
        found = exchange.disagreement({"dot": wrong}, expected)
        assert found == {"dot": (np.inf, np.inf)} and not exchange.agrees(found)
    # A few examples at a kink are no disagreement; most of them, or one gone astray, are.
    for error, agrees in (((1e-6, 1e-2), True), ((1e-2, 1e-2), False), ((1e-6, 1e-1), False)):
        assert exchange.agrees({"norm": (0.0, 0.0), "dot": error}) is agrees


@pytest.mark.parametrize("row", ["forward_graph", "ghost_graph", "batch_gradient_graph"])
def test_our_rows_agree_with_the_reference(problem, monkeypatch, row):
    _, arrays, expected = problem
    monkeypatch.setattr(ours, "run_as_programs_do", lambda: None)
    _, answer = ours.build(row, arrays)
    errors = exchange.disagreement(answer(), expected)
    assert errors.keys() == {"logits", "dot_sum" if "batch" in row else "dot"}
    assert max(error.worst for error in errors.values()) < 1e-5


@pytest.mark.parametrize("row", ["forward_fast", "backward_graph", "graph"])
def test_our_worker_refuses_unknown_rows(row):
    with pytest.raises(ValueError, match=f"then _graph or _xla. Received: {row}"):
        ours.build(row, {})


def test_a_worker_answers_in_an_environment_like_all_others(start, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    one = start(ECHO + "print(json.dumps(dict(os.environ) | {'do': do}), flush=True)")
    found = one.ask("first")
    assert found["do"] == "first" and one.ask("second")["do"] == "second"
    assert found["OMP_NUM_THREADS"] == found["NPROC"] == "3" and "PYTHONPATH" not in found
    assert found["OMP_WAIT_POLICY"] == "passive" and found["CUDA_VISIBLE_DEVICES"] == "-1"


def test_an_error_is_an_answer_cut_to_a_few_words(start):
    one = start(ECHO + "print(json.dumps({'error': 'No:\\n ' + do * 500}), flush=True)")
    with pytest.raises(WorkerError, match=r"^No: runrun") as raised:
        one.ask("run")
    assert len(str(raised.value)) == workers.MOST_WORDS


def test_death_is_told_with_the_last_words(start):
    one = start(ECHO + "sys.exit('z' * 1000 + ' no\\n memory')")
    with pytest.raises(WorkerError, match=r"at 'run' with exit code 1 .*: z+ no memory$") as raised:
        one.ask("run")
    assert len(str(raised.value)) < 2 * workers.MOST_WORDS
    with pytest.raises(WorkerError, match="ended at 'again'"):
        one.ask("again")


def test_a_worker_that_takes_too_long_is_ended(start):
    one = start(ECHO + "time.sleep(60)", timeout=0.2)
    with pytest.raises(WorkerError, match=r"no answer to 'run' in 0.2 s"):
        one.ask("run")
    with pytest.raises(WorkerError, match="ended at 'run' with exit code -9"):
        one.ask("run")


@pytest.mark.parametrize("program, code", [(ECHO + "pass", 0), ("import time; time.sleep(60)", -9)])
def test_close_ends_the_process_by_force_if_need_be(start, monkeypatch, program, code):
    monkeypatch.setattr(workers, "PARTING", 1.0)
    processes, popen = [], subprocess.Popen
    remembered = lambda *a, **k: processes.append(popen(*a, **k)) or processes[-1]  # noqa: E731
    monkeypatch.setattr(workers.subprocess, "Popen", remembered)
    start(program).close()
    assert [process.poll() for process in processes] == [code]


def test_a_worker_that_cannot_be_started_says_so(tmp_path):
    with pytest.raises(WorkerError, match=r"cannot be started: .*absent"):
        Worker([str(tmp_path / "absent")], tmp_path, 1)


def test_the_far_end_answers_every_request(tmp_path, monkeypatch):
    fake, calls = types.ModuleType("fake"), []
    fake.build = lambda row, arrays: (lambda: calls.append(row), lambda: {"dot": [*arrays["dot"]]})
    fake.versions = lambda: {"fake": "1.2"}
    monkeypatch.setitem(sys.modules, f"{worker.__package__}.fake", fake)
    np.savez(tmp_path / "a.npz", dot=np.array([1.5, 2.0]))
    requests = [json.dumps({"do": do}) for do in ("run", "build", "run", "check", "peak", "dance")]
    replies = io.StringIO()
    worker.serve(worker.Work("fake", "quick", str(tmp_path / "a.npz")), requests, replies)
    early, build, run, check, peak, unknown = map(json.loads, replies.getvalue().splitlines())
    assert "AttributeError" in early["error"] and "dance" in unknown["error"]
    assert build == {"versions": {"fake": "1.2"}} and check == {"dot": [1.5, 2.0]}
    assert run.keys() == {"wall", "cpu"} and 0 <= run["wall"] < 1
    assert peak.keys() == {"peak_mb"} and calls == ["quick"] * 2


def test_the_far_end_needs_no_tensorflow_and_keeps_its_output_to_itself(tmp_path):
    here = workers.TOP / "experiments" / "benchmarks"
    (tmp_path / "benchmarks" / "peers").mkdir(parents=True)
    for name in ("__init__", "measure", "memory", "peers/__init__", "peers/worker"):
        shutil.copy(here / f"{name}.py", tmp_path / "benchmarks" / f"{name}.py")
    (tmp_path / "benchmarks" / "peers" / "noisy.py").write_text(
        "import os, sys, numpy as np\n"
        "print('loading'), os.system('echo loaded')\n"
        "build = lambda row, arrays: (lambda: np.ones(4 * 10**6).sum(), dict)\n"
        "versions = lambda: {'modules': sorted(sys.modules)}\n"
    )
    np.savez(tmp_path / "a.npz", dot=np.ones(1))
    command = [sys.executable, "-m", "benchmarks.peers.worker", "noisy", "row", "a.npz"]
    far = Worker(command, tmp_path, 1)
    try:
        modules = far.ask("build")["versions"]["modules"]
        assert "numpy" in modules and not {"tensorflow", "keras", "experiments"} & {*modules}
        far.ask("run")
        peak = far.ask("peak")["peak_mb"]
        assert peak is None or 30 < peak < 60  # 32 MB
    finally:
        far.close()


class FakeWorker:
    """Takes the place of `Worker`: every row answers as `answers` says, else rightly."""

    answers: ClassVar[dict] = {}
    expected: ClassVar[dict] = {}
    open_rows: ClassVar[set] = set()

    def __init__(self, command, cwd, threads):
        assert threads == workers.cores() and (cwd / command[2].replace(".", "/")).parent.is_dir()
        module, name, _ = command[3:]
        self.row = next(row for row, place in peer_rows.ROWS.items() if place == (module, name))
        self.open_rows.add(self.row)

    def ask(self, do):
        answer = self.answers.get((self.row, do), {
            "build": {"versions": {self.row.split("_")[0]: "1"}},
            "run": {"wall": 2.0, "cpu": 3.0},
            "check": {"dot": self.expected["dot"].tolist()},
            "peak": {"peak_mb": 5.0},
        }[do])  # fmt: skip
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, str):
            raise WorkerError(answer)
        return answer

    def close(self):
        self.open_rows.remove(self.row)


@pytest.fixture
def fakes(problem, monkeypatch):
    monkeypatch.setattr(FakeWorker, "expected", problem[2])
    monkeypatch.setattr(peer_rows, "Worker", FakeWorker)
    monkeypatch.setattr(peer_rows, "make_environment", lambda folder, say: folder / "python")
    return FakeWorker


def test_rows_that_disagree_or_fail_are_named_and_the_others_timed(fakes, tmp_path, capsys):
    fakes.answers = {
        ("jax_jvp", "check"): {"dot": [float("nan")] * 3},
        ("jax_vmap_grad", "run"): [{"wall": 9.0, "cpu": 9.0}] * 2 + ["ended at 'run'"],
        ("torch_jvp", "build"): "ModuleNotFoundError: No module named 'torch'",
        ("opacus_grad_sample", "run"): [{"wall": s, "cpu": 2 * s} for s in (50.0, 4.0, 8.0, 6.0)],
    }
    options = replace(TINY, rows="jax_*,torch_jvp,opacus*,ours_ghost_*", memory=True)
    result = benchmark.run("influence", options, str(tmp_path / "a.jsonl"), tmp_path)
    assert not fakes.open_rows and result.missing == {
        "jax_jvp": "disagrees with the reference, relative errors: dot inf to inf",
        "jax_vmap_grad": "ended at 'run'",
        "torch_jvp": "ModuleNotFoundError: No module named 'torch'",
    }
    found = {row["name"]: row for row in result.rows}
    assert list(found) == [
        "opacus_grad_sample", "ours_ghost_graph", "ours_ghost_xla", "jax_batch_gradient",
    ]  # fmt: skip
    opacus = found["opacus_grad_sample"]
    assert opacus["sizes"]["unlabeled_batch"] == 3
    assert opacus["versions"] == {"opacus": "1"} and opacus["relative_error"] == 0.0
    assert result.ratios["best_peer_over_ours"].value == 4.0
    printed = capsys.readouterr().out
    assert "opacus 1, ours 1, jax 1; 3 interleaved rounds" in printed
    assert "| opacus_grad_sample | 6 s | 4 s | 12 s | 50 s | 5.0 | 3 × 1 |" in printed
    assert "MISSING jax_vmap_grad: ended at 'run'" in printed
    last = json.loads(printed.splitlines()[-1])
    assert last["ratios"]["best_peer_over_ours_wall"] == 3.0 and last["missing"] == result.missing
    assert (tmp_path / "a.jsonl").read_text().splitlines()[-1] == json.dumps(last)


def test_memory_is_measured_only_when_asked_for(fakes, tmp_path):
    fakes.answers = {("ours_ghost_graph", "peak"): "asked for memory"}
    options = replace(TINY, rows="ours_ghost_*")
    found = peer_rows.compare(options, tmp_path, print)
    assert [row["peak_mb"] for row in found.rows] == [None, None] and not found.missing
    asked = peer_rows.compare(replace(options, memory=True), tmp_path, print)
    assert asked.missing == {"ours_ghost_graph": "asked for memory"} and len(asked.rows) == 1


def test_without_their_environment_the_peers_are_missing_and_ours_is_timed(tmp_path):
    (tmp_path / "file").write_text("no folder can be made here")
    options = replace(TINY, rows="ours_ghost_graph,jax_jvp,opacus*", repetitions=1)
    result = peer_rows.compare(options, tmp_path / "file", lambda text: None)
    assert result.missing.keys() == {"jax_jvp", "opacus_grad_sample"}
    assert "-m venv" in result.missing["jax_jvp"] and "failed" in result.missing["jax_jvp"]
    (row,) = result.rows
    assert row["name"] == "ours_ghost_graph" and 0 < row["seconds_median"] < 60
    assert row["worst_relative_error"] < 1e-5 and row["versions"].keys() == {"tensorflow", "keras"}
    assert result.ratios == {}


def test_half_an_environment_is_made_anew(tmp_path, monkeypatch):
    python, commands = tmp_path / "bin" / "python", []

    def run(command, **keywords):
        commands.append(command)
        python.parent.mkdir(exist_ok=True)
        python.touch()
        failed = "pip" in command and len(commands) < 3
        return types.SimpleNamespace(returncode=int(failed), stdout="", stderr="no\nnetwork")

    monkeypatch.setattr(peer_rows.subprocess, "run", run)
    with pytest.raises(WorkerError, match="-m pip install for the peers failed: no network"):
        peer_rows.make_environment(tmp_path, print)
    for _ in range(2):  # made once, then taken as it is
        assert peer_rows.make_environment(tmp_path, print) == python
    assert len(commands) == 4 and commands[-1][-2:] == ["-r", str(peer_rows.LOCK)]


def test_the_ratio_is_of_the_fastest_rows_by_each_clock():
    seconds = {
        "jax_jvp": (3.0, 5.0),
        "opacus_grad_sample": (4.0, 4.0),
        "ours_ghost_xla": (2.0, 8.0),
        "ours_forward_graph": (8.0, 1.0),
        "jax_batch_gradient": (0.1, 0.1),  # a yardstick
        "ours_batch_gradient_graph": (0.1, 0.1),
    }
    timings = {row: Timing(*np.tile(pair, [4, 1]).T, 1, 0.0) for row, pair in seconds.items()}
    expected = {"best_peer_over_ours": (4.0,) * 3, "best_peer_over_ours_wall": (1.5,) * 3}
    assert peer_rows.ratios(timings) == expected
    del timings["ours_ghost_xla"], timings["ours_forward_graph"]
    assert peer_rows.ratios(timings) == {}


def test_every_row_has_its_module_and_every_peer_its_exact_version():
    for module, _ in peer_rows.ROWS.values():
        assert (peer_rows.LOCK.parent / f"{module}.py").exists()
    lines = [line for line in peer_rows.LOCK.read_text().splitlines() if line[:1] != "#"]
    exact = {line.split("==")[0] for line in lines if line.count("==") == 1}
    assert exact >= {"torch", "opacus", "backpack-for-pytorch", "jax", "jaxlib", "numpy"}


def test_peers_go_with_suite_influence_only(monkeypatch):
    values = flags.FlagValues()
    benchmark.define_flags(values)
    values(["benchmark", "--suite=madam", "--peers"])
    monkeypatch.setattr(flags, "FLAGS", values)
    with pytest.raises(app.UsageError, match="--peers must come with --suite=influence"):
        benchmark.main(["benchmark"])
