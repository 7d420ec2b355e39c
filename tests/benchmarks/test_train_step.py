"""Suite train_step: the common problem, its reference, our rows; needs no peer."""

import numpy as np
import pytest
from absl import flags

from experiments import benchmark
from experiments.benchmarks import peer_rows, train_step
from experiments.benchmarks.exchange import Error
from experiments.benchmarks.measure import Timing
from experiments.benchmarks.peers import ours_train_step
from experiments.benchmarks.suite import Options, check_name

TINY = Options(
    repetitions=2, memory=False, labeled_batch=3, unlabeled_batch=5, depth=10, width=1,
    image_size=8, num_classes=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """(arrays, reference) of a tiny net, 3 labeled and 5 unlabeled examples."""
    path = tmp_path_factory.mktemp("problem") / "problem.npz"
    expected = train_step.prepare(path, TINY)
    with np.load(path) as file:
        return dict(file), expected


def test_the_problem_masks_some_examples_and_moves_theta(problem):
    arrays, expected = problem
    losses = np.array(expected["losses"])
    assert losses.shape == (3, 2) and (np.ptp(losses, axis=0) > 1e-3).all()
    confidence = train_step._forward(train_step.exchange.load(arrays), arrays).numpy()[3:8]
    confidence = np.exp(confidence) / np.exp(confidence).sum(1, keepdims=True)
    assert 0 < (confidence.max(1) >= arrays["threshold"]).sum() < 5
    assert expected["average_moved"] > 0


@pytest.mark.parametrize("way", ["graph", "xla"])
def test_our_step_is_plain_tensorflow_s_also_after_it_was_timed(problem, monkeypatch, way):
    monkeypatch.setattr(ours_train_step, "run_as_programs_do", lambda: None)
    arrays, expected = problem
    call, answer = ours_train_step.build(f"step_{way}", arrays)
    call()
    errors = train_step.disagreement(answer(), expected)
    assert train_step.agrees(errors), errors


def test_a_wrong_step_is_noticed(problem):
    arrays, expected = problem
    for name, wrong in (("learning_rate", 0.031), ("weight_decay", 0.01), ("ema_decay", 0.99)):
        other = train_step.reference(arrays | {name: np.float64(wrong)})
        assert not train_step.agrees(train_step.disagreement(other, expected)), name
    assert train_step.agrees(train_step.disagreement(expected, expected))
    infinite = Error(np.inf, np.inf)
    found = train_step.disagreement({"losses": [[1.0]], "average_moved": np.nan}, expected)
    assert found == {"losses": infinite, "average_moved": infinite}


def test_unknown_rows_are_refused(problem):
    with pytest.raises(ValueError, match=r"step_graph or step_xla. Received: step"):
        ours_train_step.build("step", problem[0])


def test_the_ratio_is_torch_s_fastest_over_our_fastest():
    seconds = {"torch_step": 6.0, "torch_step_compiled": 4.0}
    seconds |= {"ours_step_graph": 2.0, "ours_step_xla": 3.0}
    timings = {row: Timing(*np.full([2, 4], s), 1, 0.0) for row, s in seconds.items()}
    found = {name: ratio.value for name, ratio in train_step.ratios(timings).items()}
    assert found == {
        "torch_over_ours": 2.0, "torch_over_ours_wall": 2.0,
        "torch_eager_over_ours_step_graph": 3.0, "torch_eager_over_ours_step_xla": 2.0,
    }  # fmt: skip


def test_the_program_runs_the_contest_of_the_suite(monkeypatch, tmp_path):
    asked = []

    def compare(options, environment, say, contest):
        asked.append((contest.suite, set(contest.rows), environment))
        return benchmark.Result([], {}, {})

    monkeypatch.setattr(peer_rows, "compare", compare)
    values = flags.FlagValues()
    benchmark.define_flags(values)
    monkeypatch.setattr(flags, "FLAGS", values)
    monkeypatch.setattr(benchmark.suites, "run_as_programs_do", lambda: None)
    values(["benchmark", "--suite=train_step", f"--peers_env={tmp_path}"])
    benchmark.main(["benchmark"])
    assert asked == [("train_step", {*train_step.PEERS, *train_step.OURS}, tmp_path)]
    sizes = benchmark.options_from(values)
    assert (sizes.labeled_batch, sizes.unlabeled_batch) == (16, 112)
    values(["benchmark", "--suite=train_step", "--labeled_batch=64"])
    assert benchmark.options_from(values).labeled_batch == 64
    for module, _ in contest_rows():
        assert (peer_rows.LOCK.parent / f"{module}.py").exists()
    check_name("train_step")


def contest_rows():
    """Return where the rows are built."""
    return train_step.contest().rows.values()
