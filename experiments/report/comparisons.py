"""Which methods are held against which, seed by seed, and what the interval says about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from experiments.pages.statistics import PairedDifference, paired_difference
from experiments.report.grouping import CONTROLS, Method, Setting, relevant_settings
from experiments.runs.pairs import unlike_pairs
from experiments.runs.record import RunRecord


class Role(Enum):
    """Why a method is the reference of a comparison."""

    BASE = "base algorithm"
    LABELS = "base with V as labels"  # V is extra labels; using them directly must be beaten
    SINGLE = "one learned λ"
    CONTROL = "control"
    PLAIN = "without V's labels"
    SUPERVISED = "supervised"
    WHOLE_U = "without --exclude"  # the same method before a list of names was left out of U


# Points of test error; a difference below it would change nobody's mind. (The paper's gains over
# its own FixMatch runs are of this size.)
SMALLEST_EFFECT = 0.5


class Verdict(Enum):
    """What the 95 % interval of the difference of errors says."""

    BETTER = "better"  # wholly below zero
    WORSE = "worse"  # wholly above zero
    EQUAL = f"no difference larger than {SMALLEST_EFFECT:g} points"  # zero and little else in it
    UNDECIDED = "undecided"  # it includes zero, and differences that would matter
    ONE_SEED = "one seed, no interval"
    NO_PAIR = "no pair"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Test error of `method` minus that of `reference`, in percentage points."""

    setting: Setting
    method: Method
    reference: Method
    role: Role
    difference: PairedDifference | None
    unlike: dict[int, list[str]]  # seeds left out: in what their two runs differ

    @property
    def verdict(self) -> Verdict:
        """What the interval says; without one there is no claim."""
        if self.difference is None:
            return Verdict.NO_PAIR
        if self.difference.low is None or self.difference.high is None:
            return Verdict.ONE_SEED
        if self.difference.high < 0.0:
            return Verdict.BETTER
        if self.difference.low > 0.0:
            return Verdict.WORSE
        largest = max(-self.difference.low, self.difference.high)
        return Verdict.EQUAL if largest <= SMALLEST_EFFECT else Verdict.UNDECIDED

    @property
    def reading(self) -> str:
        """The verdict in words; an open one names the seeds that were too few."""
        return undecided([self]) if self.verdict is Verdict.UNDECIDED else self.verdict.value


def undecided(items: Sequence[Comparison]) -> str:
    """Return "undecided with 3 seeds", or "with 3 or 5 seeds" where the open cases differ."""
    counts = sorted({len(item.difference.seeds) for item in items})
    return f"{Verdict.UNDECIDED.value} with {' or '.join(map(str, counts))} seeds"


def compare_setting(setting: Setting) -> tuple[Comparison, ...]:
    """Return all comparisons of one setting, in the order of its rows."""
    return tuple(
        _compare(setting, method, reference, role)
        for method in setting.methods
        for role, reference in _references(method, setting.methods)
    )


def main_error(run: RunRecord) -> float:
    """Return the error that is compared, in percent."""
    return run.test_error


def _compare(setting: Setting, method: Method, reference: Method, role: Role) -> Comparison:
    ours, theirs = ({run.seed: run for run in rows.runs} for rows in (method, reference))
    unlike = unlike_pairs(ours, theirs, any_u=role is Role.WHOLE_U)
    mine = {seed: value for seed, value in method.values(main_error).items() if seed not in unlike}
    difference = paired_difference(mine, reference.values(main_error))
    return Comparison(setting, method, reference, role, difference, unlike)


def _references(method: Method, methods: Sequence[Method]) -> list[tuple[Role, Method]]:
    same_algorithm = [other for other in methods if other.algorithm == method.algorithm]
    plain = [other for other in same_algorithm if not other.is_weighted and other is not method]
    found: list[tuple[Role, Method | None]] = []
    with_v = method.uses_v_as_labels
    if method.is_weighted:
        found.append((Role.BASE, _closest(method, _using_v(plain, with_v))))
        if method.is_learned and not with_v:
            found.append((Role.LABELS, _closest(method, _using_v(plain, True))))
    elif with_v:
        found.append((Role.PLAIN, _closest(method, _using_v(plain, False))))
    if method.weighting == "per_example" and not method.is_supervised:
        peers = _using_v(same_algorithm, with_v)
        for name in ("single", *CONTROLS):
            role = Role.SINGLE if name == "single" else Role.CONTROL
            found.append((role, _closest(method, [m for m in peers if m.weighting == name])))
    if not method.is_supervised:
        supervised = [other for other in methods if other.is_supervised]
        found.append((Role.SUPERVISED, _closest(method, _using_v(supervised, with_v))))
    if _excludes(method):
        whole = [m for m in methods if _name(m) == _name(method) and not _excludes(m)]
        found.append((Role.WHOLE_U, _closest(method, whole)))
    return [(role, reference) for role, reference in found if reference is not None]


def _excludes(method: Method) -> bool:
    return bool(relevant_settings(method.runs[0])["exclude"])


def _name(method: Method) -> str:
    return method.runs[0].summary.method


def _using_v(methods: Sequence[Method], with_v: bool) -> list[Method]:
    return [method for method in methods if method.uses_v_as_labels == with_v]


def _closest(method: Method, candidates: Sequence[Method]) -> Method | None:
    """Return the candidate whose settings differ least from the method's; the first of equals."""
    mine = relevant_settings(method.runs[0])

    def distance(other: Method) -> int:
        theirs = relevant_settings(other.runs[0])
        return sum(mine.get(name) != theirs.get(name) for name in set(mine) | set(theirs))

    return min(candidates, key=distance, default=None)
