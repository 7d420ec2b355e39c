"""How numbers and lists are written, once for every table, sentence and figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from experiments.pages.statistics import MeanStd, PairedDifference, mean_std

MISSING = "–"


def error_text(values: Sequence[float]) -> str:
    """Return the mean ± deviation: "14.02 ± 0.31"; "14.02" for one seed, a dash for none."""
    return spread_text(mean_std(values)) if len(values) else MISSING


def spread_text(value: MeanStd, digits: int = 2) -> str:
    """Return the mean ± sample standard deviation; the mean alone where there is no deviation."""
    mean = f"{value.mean:.{digits}f}"
    return mean if value.std is None else f"{mean} ± {value.std:.{digits}f}"


def share_text(values: Sequence[float]) -> str:
    """Return the mean of shares in [0, 1] as percent: "98.2 %"; a dash for none."""
    return f"{100.0 * mean_std(values).mean:.1f} %" if len(values) else MISSING


def signed(value: float, digits: int = 2) -> str:
    """Return a number with a true minus sign: "−2.10", "+0.40"; "0.00" for what rounds to zero."""
    text = f"{value:+.{digits}f}"
    if float(text) == 0.0:
        return text[1:]
    return text.replace("-", "−")


def interval_text(difference: PairedDifference | None) -> str:
    """Return the interval, "[−3.00, −1.20]", or why there is none."""
    if difference is None:
        return "none: no pair"
    if difference.low is None or difference.high is None:
        return "none: one seed"
    return f"[{signed(difference.low)}, {signed(difference.high)}]"


def p_text(p: float) -> str:
    """Return a p-value: two digits, "<0.001" for less, "1" for one."""
    if p < 0.001:
        return "<0.001"
    return f"{p:.2g}" if p < 0.995 else "1"


def plural(count: int, noun: str) -> str:
    """Count and noun: "1 seed", "3 seeds"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def joined(words: Sequence[str]) -> str:
    """Return a list in words: "a", "a and b", "a, b and c"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def left_out(unlike: Mapping[int, Sequence[str]]) -> str:
    """Return which seeds are no pairs and why: "seed 3 left out: unlike source, split"."""
    seeds: dict[str, list[str]] = {}
    for seed, names in unlike.items():
        seeds.setdefault(", ".join(names), []).append(str(seed))
    return "; ".join(
        f"seed{'s' * (len(found) > 1)} {joined(found)} left out: unlike {names}"
        for names, found in seeds.items()
    )


def unique(words: Sequence[str]) -> list[str]:
    """Return the words without repetition, in order of first appearance."""
    return list(dict.fromkeys(words))


def clock(seconds: float) -> str:
    """Return a time as M:SS or H:MM:SS, "--:--" where it is not finite."""
    if not math.isfinite(seconds):
        return "--:--"
    minutes, rest = divmod(int(seconds), 60)
    return (
        f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
        if minutes >= 60
        else f"{minutes}:{rest:02d}"
    )
