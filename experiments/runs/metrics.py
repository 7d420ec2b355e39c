"""metrics.jsonl: a line an event, deterministic values only; no TensorFlow.

"train" lines are means over theta-steps and are not read again, but for warnings.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from experiments.runs.run_files import (
    Count,
    Histogram,
    Number,
    Numbers,
    Percent,
    RunError,
    check_fields,
    parse_object,
    read_text,
)

# The kind of evaluations of what learns the Lambda of a refit, on the labels that it has; "eval"
# lines are of the model that the run leaves behind.
BEFORE_REFIT = "eval_before_refit"


class Evaluation(TypedDict):
    """A line of kind "eval" or `BEFORE_REFIT`; "lam_histogram" is over `sampled_ids`."""

    step: Count
    test_error: Percent
    test_loss: Number | None
    validation_error: Percent | None
    validation_loss: Number | None
    raw_test_error: Percent | None  # at the end alone; in older runs at each evaluation
    single_test_error: Percent | None  # of a cross-fit
    lam_histogram: Histogram | None


class LambdaStep(TypedDict):
    """A line of kind "lambda"; what else it measured depends on the options."""

    step: Count
    lam_quantiles: Numbers | None


_LINES = {"eval": Evaluation, "lambda": LambdaStep, BEFORE_REFIT: Evaluation}


def read_metrics(path: Path) -> tuple[tuple[Mapping[str, Any], ...], ...]:
    """Return the "eval", "lambda" and `BEFORE_REFIT` lines of metrics.jsonl.

    Returns:
        (evals, lambdas, evaluations before a refit), each in order of strictly increasing "step";
        at least one of the first kind.

    Raises:
        RunError: unreadable, a broken line (named by number), steps out of order, no evaluation.
    """
    found: dict[str, list[Mapping[str, Any]]] = {kind: [] for kind in _LINES}
    for number, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        where = f"{path.name} line {number}"
        line = parse_object(text, where)
        kind = line.get("kind")
        if kind not in _LINES:
            continue
        check_fields(line, _LINES[kind], where)
        if found[kind] and line["step"] <= found[kind][-1]["step"]:
            raise RunError(
                f"{where}: step {line['step']} of kind {kind!r} is doubled or out of order"
            )
        found[kind].append(line)
    if not found["eval"]:
        raise RunError(f"{path.name} holds no evaluation")
    return tuple(map(tuple, found.values()))
