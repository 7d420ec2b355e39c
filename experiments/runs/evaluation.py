"""What a run logs beside its theta-steps: each Lambda-step, and errors and Lambda now and then.

Of a large U what is logged of Lambda is that of `WeightStore.sample`.
"""

from __future__ import annotations

import numpy as np

from experiments.assemble.run import Run
from experiments.runs import example_blocks
from experiments.runs.lambda_history import LambdaHistory
from experiments.runs.log import RunLog
from experiments.runs.metrics import BEFORE_REFIT
from ssl_weighting.structs import Event
from ssl_weighting.theta.step import NonFiniteError

RAISE = "Raise --damping"
ADVICE = {
    "neumann": "Raise --damping or lower --solve_scale",
    "stochastic_cg": "Raise --damping or lower --solve_scale",
    "unrolled": "Lower --solve_iterations or --learning_rate",
}


def log_lambda(run: Run, log: RunLog, event: Event) -> None:
    """Write the line of a Lambda-step; print one too where it found no solution."""
    report = event.report | example_blocks.weight_statistics(run.trainer.store)
    log.write("lambda", event.step, **report)
    if report["skipped"]:
        print(
            f"step {event.step}: {run.config.inverse_hessian} found no solution "
            f"({report['solve']}, residual {report['residual']:.3g}, least eigenvalue "
            f"{report['least_eigenvalue']:.3g}); Lambda is left as it is. "
            f"{ADVICE.get(run.config.inverse_hessian, RAISE)}.",
            flush=True,
        )


def evaluate(run: Run, log: RunLog, history: LambdaHistory | None) -> None:
    """Evaluate what trains now, and write down its errors and Lambda.

    Args:
        run: where it stands; log: gets the line and the histogram of Lambda.
        history: takes Lambda, unless it is None.

    Raises:
        NonFiniteError: a loss is not finite; nothing has been written.
        OSError: the disk is full.
    """
    now, splits = run.now, run.splits
    evaluator = now.evaluator
    test_error, test_loss = evaluator.error_and_loss(splits.test)
    validation_error, validation_loss = now.validate()
    _check_finite(run.trainer.step, test=test_loss, validation=validation_loss)
    lam = run.trainer.store.sample.lam
    # A refit moves no λ, and what learned them is not what the run leaves behind.
    refits = run.learning is not None and now is run
    log.write(
        "eval" if now is run else BEFORE_REFIT,
        run.trainer.step,
        test_error=test_error,
        test_loss=test_loss,
        validation_error=validation_error,
        validation_loss=validation_loss,
        **_raw_error(now, run.trainer.step, test_error),
        **_single_errors(now),
        **({} if refits else {"lam_histogram": lam_histogram(lam)}),
    )
    log.histogram(run.trainer.step, lam)
    if history is not None:
        history.take(run.trainer.step, lam)


def _raw_error(run, step, test_error):
    """Return the error without an average; at a model's end alone, for it costs as much again."""
    if step % run.config.steps:
        return {}
    if run.config.ema_decay:
        test_error, _ = run.evaluator.error_and_loss(run.splits.test, use_ema=False)
    return {"raw_test_error": test_error}


def _single_errors(run):
    errors = [m.evaluator.error_and_loss(run.splits.test)[0] for m in run.members]
    if not errors:
        return {}
    return {"single_test_errors": errors, "single_test_error": float(np.mean(errors))}


def _check_finite(step, **losses):
    known = {name: value for name, value in losses.items() if value is not None}
    bad = [name for name, value in known.items() if not np.isfinite(value)]
    if bad:
        raise NonFiniteError(
            f"The {' and '.join(bad)} loss is not finite at step {step}. Lambda is untouched. "
            "Lower the learning rate or check the inputs, and resume from the last checkpoint."
        )


def lam_histogram(lam: np.ndarray, bins: int = 40) -> dict:
    """Return {"edges": [bins + 1], "counts": [bins]} over the range that lambda spans."""
    counts, edges = np.histogram(lam.astype(np.float64), bins=bins)
    return {"edges": [float(e) for e in edges], "counts": [int(c) for c in counts]}
