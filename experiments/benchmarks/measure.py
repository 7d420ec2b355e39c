"""Speed by interleaved timings: on a shared machine only what ran side by side can be compared."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Task = Callable[[], object]


class Timing(NamedTuple):
    """Seconds that one call of a task took, once per round."""

    wall: np.ndarray  # [n] float64, s: wall clock
    cpu: np.ndarray  # [n] float64, s: CPU time of all threads of this process
    calls: int  # calls a round; `wall` and `cpu` are means over them
    first_seconds: float  # s, wall: the first call, with its tracing and compiling


class Ratio(NamedTuple):
    """A ratio of medians and its 95 % interval; memory is measured once and has none."""

    value: float
    low: float | None = None
    high: float | None = None


def interleave(
    tasks: dict[str, Task],
    repetitions: int = 10,
    least_seconds: float = 0.2,
    on_round: Callable[[int], object] = lambda done: None,
) -> dict[str, Timing]:
    """Time tasks in turns, A B C A B C ..., so that other load falls on all of them alike.

    Every task is first called once (compiling, kept apart) and then until it is known how many
    calls fill `least_seconds`; neither enters the timings.

    Args:
        tasks: name -> call without arguments that returns when its work is done.
        repetitions: rounds n; ten or more for a figure that is to be quoted.
        least_seconds: least length of one timing; a short task is called that often.
        on_round: told the number of rounds done.

    Raises:
        ValueError: no task, fewer than one repetition, a negative length.
    """
    if not tasks or repetitions < 1 or least_seconds < 0:
        raise ValueError(
            "`tasks` must not be empty, `repetitions` must be >= 1 and `least_seconds` >= 0. "
            f"Received: tasks={list(tasks)}, repetitions={repetitions}, "
            f"least_seconds={least_seconds}"
        )
    first = {name: timed(task)[0] for name, task in tasks.items()}
    calls = {name: calls_to_fill(task, least_seconds) for name, task in tasks.items()}
    rounds = {name: [] for name in tasks}
    for done in range(1, repetitions + 1):
        for name, task in tasks.items():
            rounds[name].append(timed(task, calls[name]))
        on_round(done)
    return {
        name: Timing(*np.transpose(samples), calls[name], first[name])
        for name, samples in rounds.items()
    }


def timed(task: Task, calls: int = 1) -> tuple[float, float]:
    """Return wall and CPU seconds of one call, means over `calls` calls in a row."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        task()
    return (time.perf_counter() - wall) / calls, (time.process_time() - cpu) / calls


def calls_to_fill(task: Task, least_seconds: float) -> int:
    """Return how many calls of a warm task take at least `least_seconds`, by doubling."""
    calls = 1
    while (total := timed(task, calls)[0] * calls) < least_seconds / 4:
        calls *= 2
    return max(1, math.ceil(least_seconds * calls / total)) if total else calls


def cpu_ratio(numerator: Timing, denominator: Timing, scale: float = 1.0) -> Ratio:
    """Return scale * median CPU time / median CPU time with its 95 % interval.

    CPU time, because wall time on a shared machine measures the neighbours.
    """
    low, high = bootstrap_interval(numerator.cpu, denominator.cpu)
    value = float(np.median(numerator.cpu) / np.median(denominator.cpu))
    return Ratio(scale * value, scale * low, scale * high)


def wall_ratio(numerator: Timing, denominator: Timing) -> Ratio:
    """Return `cpu_ratio` of the wall clock: for work that differs in how well it uses the cores."""
    return cpu_ratio(
        numerator._replace(cpu=numerator.wall), denominator._replace(cpu=denominator.wall)
    )


def bootstrap_interval(
    numerator: np.ndarray,
    denominator: np.ndarray,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of median(numerator) / median(denominator).

    Rounds are resampled whole: both tasks of a round met the same load. With n rounds the true
    level cannot exceed 1 - 2^(1-n): three rounds say little, ten are the least to quote.

    Args:
        numerator, denominator: [n] float, > 0, one entry per round.
        level: in (0, 1).
        resamples: number of bootstrap samples; seed: of their choice.

    Raises:
        ValueError: different or no rounds, a level out of range.
    """
    numerator, denominator = np.asarray(numerator), np.asarray(denominator)
    if numerator.ndim != 1 or numerator.shape != denominator.shape or not numerator.size:
        raise ValueError(
            "`numerator` and `denominator` must have one entry per round each. "
            f"Received: shapes {numerator.shape} and {denominator.shape}"
        )
    if not 0 < level < 1:
        raise ValueError(f"`level` must be in (0, 1). Received: level={level}")
    count = numerator.size
    rounds = np.random.default_rng(seed).integers(count, size=[resamples, count])
    ratios = np.median(numerator[rounds], axis=1) / np.median(denominator[rounds], axis=1)
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
