"""A run's influences against solving its head again: the oracle, the program, what is refused."""

import dataclasses

import numpy as np
import pytest
import runs
import scipy.optimize
from feature_files import arrays, write_npz

from experiments import measure_agreement
from experiments.options.presets import make_config
from experiments.runs.record import read_run
from experiments.study.agreement import read_agreements
from experiments.verification import run_agreement
from ssl_weighting.theta.convex_head import Problem

RNG = np.random.default_rng(0)
ROWS, WIDTH, CLASSES = 40, 4, 3


def problem():
    """Rows with soft targets, a bias without decay: one direction of theta changes nothing."""
    features = np.concatenate([RNG.normal(size=[ROWS, WIDTH]), np.ones([ROWS, 1])], axis=1)
    targets = RNG.dirichlet(np.ones(CLASSES), ROWS)
    decay = np.array([0.1] * WIDTH + [0.0])
    return Problem(features, targets, np.full(ROWS, 1 / ROWS), decay)


def validation():
    inputs = np.concatenate([RNG.normal(size=[20, WIDTH]), np.ones([20, 1])], axis=1)
    return inputs, RNG.integers(0, CLASSES, 20)


def solved(one, start):
    def flat(x):
        value, gradient = one.value_and_gradient(x.reshape(start.shape))
        return value, gradient.ravel()

    options = {"gtol": 1e-10, "maxiter": 10_000}
    return scipy.optimize.minimize(flat, start.ravel(), jac=True, options=options).x.reshape(
        start.shape
    )


def test_a_change_is_that_of_an_independent_minimisation():
    one, v = problem(), validation()
    theta = solved(one, np.zeros([WIDTH + 1, CLASSES]))
    head = run_agreement.Head(one, theta + 1e-6, v)
    direction = np.zeros(ROWS)
    direction[7] = 1 / ROWS

    def loss(delta):
        moved = one._replace(coefficients=one.coefficients + delta * direction)
        z = v[0] @ solved(moved, theta)
        z -= z.max(axis=1, keepdims=True)
        p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        return -p[np.arange(20), v[1]].mean()

    expected = (loss(0.5) - loss(-0.5)) / 1.0
    np.testing.assert_allclose(head.change(direction), expected, rtol=2e-2)
    assert head.change(np.zeros(ROWS)) == 0.0


def test_the_hessian_is_that_of_differences():
    one = problem()
    theta = RNG.normal(size=[WIDTH + 1, CLASSES])
    dense = run_agreement._hessian(one, theta)
    way = RNG.normal(size=theta.shape)
    ends = [one.value_and_gradient(theta + h * way)[1] for h in (1e-5, -1e-5)]
    np.testing.assert_allclose(
        dense @ way.ravel(), (ends[0] - ends[1]).ravel() / 2e-5, rtol=1e-6, atol=1e-8
    )


def test_a_head_far_from_its_minimum_is_refused():
    far = 30 * RNG.normal(size=[WIDTH + 1, CLASSES])
    with pytest.raises(ValueError, match=r"must be at its minimum. Received: \|\|gradient"):
        run_agreement.Head(problem(), far, validation())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny finished run, its head solved exactly."""
    root = tmp_path_factory.mktemp("agreement")
    path = write_npz(root / "features.npz", **arrays())
    out = root / "runs" / "features_tiny" / "per_example_refit" / "seed_1"
    config = make_config(
        dataset=path, inner="solve", refit=True, num_labeled=12, val_size=12, steps=6,
        out=str(out), seed=1,
    )  # fmt: skip
    runs.running.execute(config, "train_features")
    return out


def test_the_program_records_a_run(folder, monkeypatch, tmp_path, capsys):
    record = tmp_path / "agreement.csv"
    arguments = (f"--runs={folder.parents[2]}", f"--out={record}", "--ids=25")
    runs.call(measure_agreement, monkeypatch, *arguments)
    (line,) = read_agreements(record).values()
    assert line.key == ("features_tiny", "per_example_refit", 1)
    assert line.ids >= 20 and line.spearman >= 0.99
    assert "Spearman" in capsys.readouterr().out


def test_eq_6_is_the_truth_itself_but_for_the_mean_over_u(folder):
    found = run_agreement.compared(folder, 25, None)
    size = read_run(folder).summary.num_unlabeled
    np.testing.assert_allclose(found.scores / size, found.truth, rtol=5e-2, atol=1e-6)
    again = run_agreement.compared(folder, 25, None)
    np.testing.assert_array_equal(found.ids, again.ids)


def test_another_lambda_than_the_runs_is_refused(folder, monkeypatch):
    run = read_run(folder)
    other = dataclasses.replace(run, weights=run.weights | {"lam": run.weights["lam"] + 0.5})
    monkeypatch.setattr(run_agreement, "read_run", lambda path: other)
    with pytest.raises(ValueError, match="must give the same weights again"):
        run_agreement.compared(folder, 5, None)


@pytest.mark.parametrize(
    "change",
    [{"inner": "steps"}, {"weighting": "shuffled"}, {"validation": "cross_fit"}],
)
def test_runs_of_another_kind_are_refused_by_name(change):
    config = make_config(dataset="features:x.npz", inner="solve")
    run_agreement.check(config, "here")
    name, value = next(iter(change.items()))
    with pytest.raises(ValueError, match=f"Received: here .*--{name}={value}"):
        run_agreement.check(dataclasses.replace(config, **change), "here")


def test_no_run_is_refused(folder):
    with pytest.raises(FileNotFoundError, match=r"--only=nothing/\*; there are 1 finished"):
        measure_agreement.chosen(folder.parents[2], "nothing/*")
