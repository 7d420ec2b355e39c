"""The benchmark program: its output, its clock, its intervals, its memory figures, its parts."""

import json
import re
import shlex
import sys

import memory_cases
import numpy as np
import pytest
import tensorflow as tf
from absl import app, flags
from places import ROOT

from experiments import benchmark
from experiments.benchmarks import influence, madam, measure, memory, peer_rows
from experiments.benchmarks import suite as suites
from experiments.benchmarks.measure import Timing, bootstrap_interval, cpu_ratio, interleave
from experiments.benchmarks.suite import Options
from ssl_weighting.inverse_hessian import METHODS

TINY = Options(
    repetitions=2,
    least_seconds=0.0,
    memory=False,
    sizes=(5, 120),
    labeled_batch=3,
    unlabeled_batch=5,
    validation_batch=4,
    depth=10,
    width=1,
    image_size=8,
    num_classes=4,
)
SUITES = "augment, influence, madam, text, train_step, scale"
KEYS = ("suite", "name", "seconds_median", "seconds_min", "cpu_seconds_median", "peak_mb", "sizes")


def timing(cpu):
    return Timing(np.float64(cpu), np.float64(cpu), 1, 0.0)


def parse(*arguments):
    values = flags.FlagValues()
    benchmark.define_flags(values)
    values(["benchmark", *arguments])
    return values


def test_madam_prints_a_table_json_lines_and_last_the_ratios(capsys, tmp_path):
    out = tmp_path / "new" / "madam.jsonl"
    result = benchmark.run("madam", TINY, str(out))
    printed = capsys.readouterr()
    assert "| sparse_120 |" in printed.out and "2 interleaved rounds" in printed.out
    assert "round 2 of 2" in printed.err
    lines = [json.loads(line) for line in printed.out.splitlines() if line.startswith("{")]
    assert printed.out.splitlines()[-1] == json.dumps(lines[-1])
    assert out.read_text().splitlines() == [json.dumps(line) for line in lines]
    names = ["sparse_5", "dense_5", "sparse_120", "dense_120"]
    assert [row["name"] for row in lines[:-1]] == names
    for row in lines[:-1]:
        assert set(KEYS) <= row.keys() and row["peak_mb"] is None and row["repetitions"] == 2
        assert 0 < row["seconds_min"] <= row["seconds_median"]
    assert lines[0]["sizes"] == {"num_unlabeled": 5, "batch": 5}
    assert lines[-1].keys() == {"suite", "ratios"} and lines[-1]["suite"] == "madam"
    ratio = result.ratios["sparse_120_over_5"]
    assert lines[-1]["ratios"]["sparse_120_over_5"] == ratio.value
    assert lines[-1]["ratios"]["sparse_120_over_5_low"] == ratio.low <= ratio.value <= ratio.high
    assert "dense_120_over_sparse_120" in result.ratios


def test_a_file_is_replaced_as_a_whole(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text("before\n")
    monkeypatch.setattr(suites, "run", lambda *_: (_ for _ in ()).throw(ValueError("half way")))
    with pytest.raises(ValueError, match="half way"):
        benchmark.run("madam", TINY, str(tmp_path / "a.jsonl"))
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]
    assert (tmp_path / "a.jsonl").read_text() == "before\n"


def test_flags_become_options():
    assert benchmark.options_from(parse()) == Options()
    given = parse("--sizes=10,200", "--unlabeled_batch=4", "--repetitions=3", "--nomemory")
    found = benchmark.options_from(given)
    assert found == Options(repetitions=3, memory=False, sizes=(10, 200), unlabeled_batch=4)
    with pytest.raises(ValueError, match=r"integers separated by commas. Received: '1e4'"):
        benchmark.options_from(parse("--sizes=1e4"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--suite=speed"], rf"--suite must be one of {SUITES}. Received: 'speed'"),
        ([], rf"--suite must be one of {SUITES}. Received: ''"),
        (["--suite=madam", "--sizes=x"], "--sizes must be integers"),
        (["--suite=madam", "--repetitions=0"], "--repetitions must be at least 1. Received: 0"),
        (["--suite=madam", "extra"], "Unexpected arguments: extra"),
    ],
)
def test_the_command_line_is_refused_in_words(monkeypatch, arguments, message):
    monkeypatch.setattr(flags, "FLAGS", parse(*[a for a in arguments if a.startswith("-")]))
    with pytest.raises(app.UsageError, match=message):
        benchmark.main(["benchmark", *[a for a in arguments if not a.startswith("-")]])


@pytest.mark.parametrize("sizes, batch", [((), 5), ((10, 4), 5)])
def test_options_refuse_sizes_below_the_batch(sizes, batch):
    with pytest.raises(ValueError, match=r"--sizes must be one or more \|U\|, none below"):
        Options(sizes=sizes, unlabeled_batch=batch)


def test_unknown_suites_are_refused_by_the_library_too():
    with pytest.raises(ValueError, match=f"--suite must be one of {SUITES}"):
        suites.run("speed", TINY)


@pytest.mark.parametrize(
    "value, text", [(12.345, "12.3 s"), (0.0123, "12.3 ms"), (1e-3, "1 ms"), (4.5e-5, "45 µs")]
)
def test_seconds_have_a_unit(value, text):
    assert benchmark.seconds(value) == text


def test_tasks_take_turns_after_warming_up():
    calls = []
    tasks = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    found = interleave(tasks, 3, least_seconds=0.0, on_round=calls.append)
    # One call each to compile, one to see how long it takes, then the rounds.
    assert calls == [*"abab", *"ab", 1, *"ab", 2, *"ab", 3]
    assert found["a"].calls == 1 and found["a"].wall.shape == found["b"].cpu.shape == (3,)


def test_cpu_time_is_work_and_wall_time_waits(monkeypatch):
    clock = {"wall": 0.0, "cpu": 0.0}
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock["wall"])
    monkeypatch.setattr(measure.time, "process_time", lambda: clock["cpu"])

    def task():
        clock["wall"] += 1 / 32
        clock["cpu"] += 1 / 64

    found = interleave({"a": task}, 2, least_seconds=10 / 32)["a"]
    assert found.calls == 10 and found.first_seconds == 1 / 32
    assert found.wall.tolist() == [1 / 32] * 2 and found.cpu.tolist() == [1 / 64] * 2


@pytest.mark.parametrize("options", [{"tasks": {}}, {"repetitions": 0}, {"least_seconds": -1.0}])
def test_interleave_refuses(options):
    with pytest.raises(ValueError, match="`tasks` must not be empty, `repetitions` must be >= 1"):
        interleave(**{"tasks": {"a": lambda: None}} | options)


def test_interval_of_three_rounds_by_hand():
    # Resampling (1, 2, 4): the median is 1 in 7 of 27 cases, 2 in 13, 4 in 7 (two equal or more).
    a, b = np.array([1.0, 2.0, 4.0]), np.ones(3)
    assert bootstrap_interval(a, b) == (1.0, 4.0)
    assert bootstrap_interval(a, b, level=0.6) == (1.0, 4.0)  # 20 % < 7/27
    assert bootstrap_interval(a, b, level=0.4) == (2.0, 2.0)  # 30 % > 7/27
    # Rounds stay whole: where both tasks slow down together the ratio does not move.
    assert bootstrap_interval(3 * a, a) == (3.0, 3.0)


def test_interval_agrees_with_scipy(rng):
    from scipy.stats import bootstrap

    a, b = rng.gamma(50, size=15), rng.gamma(50, size=15)
    reference = bootstrap(
        (a, b),
        lambda x, y, axis: np.median(x, axis) / np.median(y, axis),
        paired=True,
        n_resamples=40_000,
        method="percentile",
        rng=rng,
    ).confidence_interval
    np.testing.assert_allclose(bootstrap_interval(a, b, resamples=40_000), reference, atol=0.01)


def test_ratio_is_of_cpu_medians():
    ratio = cpu_ratio(timing([1.0, 3.0, 2.0]), timing([4.0, 4.0, 5.0]), scale=0.01)
    assert ratio.value == pytest.approx(0.005)
    assert ratio.low <= ratio.value <= ratio.high
    assert cpu_ratio(timing([2.0] * 4), timing([1.0] * 4)) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    "a, b, options, message",
    [
        ([1.0], [1.0, 2.0], {}, r"one entry per round each. Received: shapes \(1,\) and \(2,\)"),
        ([], [], {}, "one entry per round each"),
        ([1.0], [1.0], {"level": 1.0}, r"`level` must be in \(0, 1\). Received: level=1.0"),
    ],
)
def test_interval_refuses(a, b, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(a, b, **options)


needs_proc = pytest.mark.skipif(not memory.STATUS.exists(), reason="reads /proc")


@needs_proc
def test_peak_memory_of_a_child_is_seen():
    target = f"{memory_cases.__name__}:allocate"
    # Larger than the child and then some, so that this process' own size would be noticed.
    own = np.ones(300 * 10**6, np.uint8)
    found = memory.peak_of_child_mb(target, {"megabytes": 200})
    assert found == pytest.approx(200, rel=0.1)
    assert memory.peak_of_child_mb(target, {"megabytes": 0}) < 10
    assert own.any()


@needs_proc
def test_a_failing_child_says_why():
    with pytest.raises(ChildProcessError, match=r"(?s)must exit with 0.*exit code 1.*nothing left"):
        memory.peak_of_child_mb(f"{memory_cases.__name__}:fail", {})


@needs_proc
def test_resident_memory_refuses():
    known = "now, peak, anonymous, file"
    with pytest.raises(ValueError, match=rf"`which` must be one of {known}. Received: which='max'"):
        memory.resident_mb("max")


def test_no_proc_no_memory_figure(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "absent")
    assert memory.peak_of_child_mb("anything:at_all", {}) is None


def test_memory_of_each_row_is_asked_for_with_its_options(monkeypatch):
    asked = []
    monkeypatch.setattr(suites, "peak_of_child_mb", lambda *a: asked.append(a) or 7.5)
    monkeypatch.setattr(suites, "run_as_programs_do", lambda: None)
    options = Options(**vars(TINY) | {"memory": True, "sizes": (5,)})
    rows = suites.run("madam", options).rows
    assert [row["peak_mb"] for row in rows] == [7.5, 7.5]
    (target, arguments), _ = asked
    module, function = target.split(":")
    arguments = json.loads(json.dumps(arguments))
    warm_up, work = getattr(sys.modules[module], function)(**arguments)
    warm_up(), work()
    assert (warm_up.store.num_unlabeled, work.store.num_unlabeled) == (5, 5)
    assert arguments["row"] == "sparse_5"


def test_a_sparse_update_holds_no_tensor_of_the_size_of_u():
    size = 1013
    call = madam.Sparse(size, 4)
    graph = call.update.get_concrete_function(*next(call.turns)).graph
    shapes = [o.shape for op in graph.get_operations() for o in op.outputs]
    assert len(shapes) > 20  # the update is in this graph and not in one called from it
    assert not [s for s in shapes if s.rank and size in s.as_list()]
    assert not [op.type for op in graph.get_operations() if "Call" in op.type]


def test_sparse_and_dense_take_the_same_step():
    sparse, dense = madam.Sparse(50, 4), madam.Dense(50, 4)
    ids, gradient = next(sparse.turns)
    sparse.update(ids, gradient)
    dense.update(tf.scatter_nd(ids[:, None], gradient, [50]))
    np.testing.assert_allclose(sparse.store.table(), dense.store.table(), rtol=1e-6)
    assert np.count_nonzero(sparse.store.table() != 1.0) == 4


def test_rows_are_chosen_by_patterns():
    cases = influence.cases(TINY)
    assert set(suites.chosen(cases, "theta_*,engine_ghost_xla")) == {
        "theta_step_graph", "theta_step_xla", "theta_step_scored", "engine_ghost_xla",
    }  # fmt: skip
    assert len(suites.chosen(cases, "theta_step_graph,\n    theta_step_xla")) == 2
    for rows in ("nothing", "theta_*,nothing"):
        with pytest.raises(ValueError, match=r"some of theta_step_graph, .*: 'nothing'"):
            suites.chosen(cases, rows)


def test_commands_of_the_documents_name_rows_that_exist():
    text = (ROOT / "docs/benchmarks.md").read_text()
    commands = re.findall(r"^    (python -m experiments\.benchmark(?:\\\n|[^\\\n])*)", text, re.M)
    assert len(commands) >= 7
    for command in commands:
        assert "'" not in command  # a shell would keep a line's end in it
        words = shlex.split(command.replace("\\\n", ""))
        values = parse(*[word for word in words if word.startswith("--")])
        if values["suite"].value == "influence":
            known = peer_rows.ROWS if values["peers"].value else influence.cases(TINY)
            assert suites.chosen(known, values["rows"].value)


def test_influence_names_its_rows_and_ratios():
    cases = influence.cases(TINY)
    assert cases["theta_step_xla"].sizes["unlabeled_batch"] == 5
    cpu = dict.fromkeys(cases, [2.0] * 3) | {"theta_step_xla": [1.0] * 3}
    found = influence.ratios({name: timing(value) for name, value in cpu.items()}, {}, TINY)
    # Against the faster of the two theta-steps.
    assert found["lambda_step_share_at_100"].value == pytest.approx(2.0 / (100 * 1.0))
    assert found["exact_over_identity"].value == 1.0
    assert found["theta_xla_over_graph"].value == 0.5
    assert found["forward_over_batch_gradient"].value == 1.0
    assert found["neumann_over_exact"].value == 1.0
    some = influence.ratios({"engine_forward_graph": timing([1.0] * 3)}, {}, TINY)
    assert some == {}  # a ratio needs both of its rows


def test_where_the_paper_s_speedup_falls_and_ratios_of_memory():
    cpu = {"exact": 1.0, "last_group_neumann_5": 3.0, "last_group_neumann_20": 6.0}
    timings = {f"lambda_step_{name}": timing([value] * 3) for name, value in cpu.items()}
    timings |= {"theta_step_xla": timing([10.0] * 3), "scores_of_a_step": timing([0.1] * 3)}
    peaks = {"lambda_step_exact": 50.0, "lambda_step_last_group_neumann_20": 200.0}
    peaks |= {"engine_forward_xla": 3.0, "engine_batch_gradient_xla": None}
    found = influence.ratios(timings, peaks, TINY)
    # Five terms cost 3 and each more 0.2: thirteen cost 4.6.
    assert found["neumann_terms_for_4.6"].value == pytest.approx(13)
    assert found["exact_over_neumann_memory"] == (0.25, None, None)
    assert found["score_every_step_share"].value == pytest.approx(0.01)
    assert not any("batch_gradient_memory" in name for name in found)
    line = benchmark.json_lines("influence", suites.Result([], found, {}))[-1]
    ratios = json.loads(line)["ratios"]
    assert ratios["exact_over_neumann_memory"] == 0.25
    assert "exact_over_neumann_memory_low" not in ratios and "neumann_over_exact_low" in ratios


@pytest.mark.slow
def test_every_method_has_a_lambda_step_and_unrolled_looks_back_on_true_steps():
    cases = influence.cases(TINY)
    assert {f"lambda_step_{method}" for method in METHODS} <= set(cases)
    call = cases["lambda_step_unrolled"].make(False)
    for _ in range(2):
        report = call()
        assert (report["solve"], report["iterations"]) == ("truncated", influence.UNROLLED_STEPS)


@pytest.mark.slow
def test_every_influence_row_runs():
    ran = set()
    for name, case in influence.cases(TINY).items():
        if not name.endswith("_xla"):  # compiling takes half a minute; the graph row is the same
            case.make(False)()
            ran.add(name)
    influence.cases(TINY)["lambda_step_exact"].make(True)()
    assert ran >= {
        "theta_step_graph", "theta_step_scored", "lambda_step_exact", "lambda_step_identity",
        "lambda_step_last_group_neumann_20", "engine_forward_graph", "engine_ghost_graph",
        "engine_gradients_serial_graph", "engine_gradients_layerwise_vectorized_graph",
    }  # fmt: skip


def test_the_size_of_u_is_written_short():
    assert [madam.label(size) for size in (10**4, 10**7, 1, 250, 1001)] == [
        "1e4", "1e7", "1e0", "250", "1001",
    ]  # fmt: skip
