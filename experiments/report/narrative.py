"""The plain-language summary: sentences made from the comparisons, wins and losses alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.pages.document import Bullet, Bullets, Lead
from experiments.pages.statistics import mean_std
from experiments.pages.wording import interval_text, joined, left_out, plural, signed
from experiments.report.comparisons import (
    SMALLEST_EFFECT,
    Comparison,
    Role,
    Verdict,
    main_error,
    undecided,
)
from experiments.report.detection import Detection, Detections, mean_area
from experiments.report.grouping import Setting, short_titles

# What each reading of an interval is called, by what is compared. The first is always told, even
# when it happened zero times: "helped in 0 of 4" is news. Undecided cases are told by `undecided`.
WORDS: dict[Role, dict[Verdict, str]] = {
    Role.BASE: {
        Verdict.BETTER: "helped",
        Verdict.WORSE: "made the error larger",
        Verdict.EQUAL: f"made {Verdict.EQUAL.value}",
    },
    Role.LABELS: {
        Verdict.BETTER: "was better",
        Verdict.WORSE: "was worse",
        Verdict.EQUAL: f"made {Verdict.EQUAL.value}",
    },
}
WORDS |= dict.fromkeys(
    (Role.SINGLE, Role.CONTROL, Role.SUPERVISED, Role.WHOLE_U), WORDS[Role.LABELS]
)
NAMES = {
    Verdict.BETTER: "Better",
    Verdict.WORSE: "Worse",
    Verdict.EQUAL: f"N{Verdict.EQUAL.value[1:]}",
    Verdict.UNDECIDED: "Undecided",
    Verdict.ONE_SEED: "One seed, no claim",
    Verdict.NO_PAIR: "No pair",
}
BASE_NAMES = {**NAMES, Verdict.BETTER: "Helped", Verdict.WORSE: "Made the error larger"}
SUBJECTS = {
    Role.BASE: "Learned per-example weights (Λ), held against their base algorithm,",
    Role.LABELS: "Learning Λ on V, held against simply adding V to the labels,",
    Role.SUPERVISED: "The base algorithm alone, held against supervised training,",
}
OPPONENTS = {
    Role.BASE: "against {b}",
    Role.LABELS: "than {b}, which spends V directly as labels",
    Role.SINGLE: "than one learned λ for all ({b})",
    Role.CONTROL: "than the control {b}",
    Role.SUPERVISED: "than {b}",
    Role.WHOLE_U: "than without the list of --exclude ({b})",
}
HOW_TO_READ = (
    "In brackets: the paired difference of test error in percentage points (same seed, median of "
    "the last 20 evaluations or, of exact solutions, the last one; negative is better) with its "
    "95 % interval. A win or a loss is "
    "claimed only where the whole interval lies on one side of zero. Where it includes zero and "
    f"more than {SMALLEST_EFFECT:g} points on either side, the seeds decide nothing: that is no "
    "evidence that there is no difference."
)


def overview(settings: Sequence[Setting], comparisons: Sequence[Comparison]) -> Lead:
    """Return the summary at the top: where learned weights and bases won, lost or neither."""
    titles = short_titles(settings)
    paragraphs = []
    for role, subject in SUBJECTS.items():
        items = [item for item in comparisons if item.role is role and _is_headline(item)]
        if items:
            paragraphs.append(_tally(subject, items, titles))
        elif role is Role.BASE:
            paragraphs.append(
                "No pair of finished runs compares learned per-example weights (Λ) with their "
                "base algorithm."
            )
    return Lead((*paragraphs, HOW_TO_READ) if comparisons else tuple(paragraphs))


def _is_headline(item: Comparison) -> bool:
    if item.role is Role.SUPERVISED:
        return not item.method.is_weighted and not item.method.uses_v_as_labels
    return item.method.weighting == "per_example"


def _tally(subject: str, items: Sequence[Comparison], titles: Mapping[Setting, str]) -> str:
    """Return "X helped in 1 of 3 cases; undecided in 2. Helped: …." and the like."""
    base = items[0].role is Role.BASE
    groups = {verdict: [item for item in items if item.verdict is verdict] for verdict in NAMES}
    names = BASE_NAMES if base else NAMES
    details = [
        f"{names[verdict]}: {'; '.join(_brief(item, titles) for item in group)}."
        for verdict, group in groups.items()
        if group
    ]
    return f"{subject} {_counts(WORDS[items[0].role], groups)}. {' '.join(details)}"


def _counts(words: Mapping[Verdict, str], groups: Mapping[Verdict, Sequence[Comparison]]) -> str:
    open_ones = groups[Verdict.UNDECIDED]
    judged = len(open_ones) + sum(len(groups[verdict]) for verdict in words)
    if not judged:
        return "cannot be judged: an interval needs at least two common seeds"
    first = f"{words[Verdict.BETTER]} in {len(groups[Verdict.BETTER])} of {plural(judged, 'case')}"
    others = [
        f"{word} in {len(groups[verdict])}"
        for verdict, word in words.items()
        if verdict is not Verdict.BETTER and groups[verdict]
    ]
    told = joined([first, *others])
    return f"{told}, {undecided(open_ones)} in {len(open_ones)}" if open_ones else told


def _brief(item: Comparison, titles: Mapping[Setting, str]) -> str:
    name = f"{item.method.label} on {titles[item.setting]}"
    return name if item.difference is None else f"{name} ({_numbers(item)})"


def _numbers(item: Comparison) -> str:
    mean = signed(item.difference.mean)
    return mean if item.difference.low is None else f"{mean} {interval_text(item.difference)}"


def sentence(item: Comparison) -> str:
    """Return one comparison in words, with difference, interval and number of seeds."""
    a, b = item.method.label, item.reference.label
    if item.difference is None:
        why = left_out(item.unlike) or "no common seed"
        return f"{a} cannot be compared with {b}: {why}."
    if item.verdict is Verdict.ONE_SEED:
        return (
            f"{a} against {b}: {signed(item.difference.mean)} points from one seed, so there is "
            "no interval and no claim."
        )
    if item.verdict is Verdict.UNDECIDED:
        return f"{a} against {b}: {item.reading} ({_numbers(item)})."
    if item.verdict is Verdict.EQUAL:
        words = f"{a} against {b}: {item.reading}"
    else:
        words = f"{a} {WORDS[item.role][item.verdict]} {OPPONENTS[item.role].format(b=b)}"
    return f"{words} ({_numbers(item)}, {plural(len(item.difference.seeds), 'seed')})."


def setting_points(
    settings: Sequence[Setting], comparisons: Sequence[Comparison], detections: Detections
) -> Bullets:
    """Return one point per setting: the errors, every reading, how well −λ finds wrong labels."""
    points = []
    for setting in settings:
        told = [item for item in comparisons if item.setting is setting and _is_told(item)]
        found = [
            group for group in detections[setting] if group[0].method.weighting == "per_example"
        ]
        sentences = [
            _errors(setting),
            *(sentence(item) for item in told),
            *(_detection_sentence(group) for group in found),
        ]
        points.append(Bullet(f"{setting.title}:", " ".join(sentences)))
    return Bullets(tuple(points))


def _is_told(item: Comparison) -> bool:
    if item.role is Role.SUPERVISED:
        return _is_headline(item)
    return item.role is Role.WHOLE_U or (item.role in OPPONENTS and item.method.is_learned)


def _errors(setting: Setting) -> str:
    parts = [
        f"{method.label} {mean_std(list(method.values(main_error).values())).mean:.2f} %"
        for method in setting.methods
    ]
    return f"test error {joined(parts)}."


def _detection_sentence(group: Sequence[Detection]) -> str:
    ours, theirs = (mean_area(group, score) for score in ("−λ", "1 − confidence"))
    name = group[0].method.label
    if ours == "undefined":
        return f"Whether −λ finds the wrong pseudo-labels of {name} is undefined (see below)."
    return (
        f"For finding the wrong pseudo-labels of {name}, −λ has AUROC {ours} and "
        f"1 − confidence {theirs} (chance: 0.5)."
    )
