"""docs/study: the page, its pictures and the record, from rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.pages.document import (
    Block,
    Bullet,
    Bullets,
    Code,
    Document,
    Heading,
    Lead,
    Paragraph,
    Pictures,
    pictures_in,
)
from experiments.pages.files import write_atomically
from experiments.pages.render_markdown import render_markdown
from experiments.pages.wording import plural, unique
from experiments.study import figures as study_figures
from experiments.study import tables as study_tables
from experiments.study.families_found import (
    BASE,
    EVERY_STEP,
    LEARNED,
    TUNED,
    V_AS_LABELS,
    Family,
    FamilyPlan,
)
from experiments.study.families_found import families as sort_into
from experiments.study.rows import Key, Row, rows_text

TITLE = "The study: is a weight for each unlabeled example worth its labels?"
RULES = (
    "The number that is compared is the test error in percent: median of the last 20 evaluations, "
    "which are the last half of each run, EMA parameters: a method that works late gains less by "
    "it than at the end. Best on V: the evaluation with the least error on V. Mean ± sample "
    "standard deviation over seeds. Differences are paired by seed, in percentage points, with "
    "two-sided 95 % t-intervals and the number of seeds behind them; negative favours the method "
    "of the row. They are not corrected for the number of comparisons.",
    "Errors are on a random part of the test set, the same for every run of a family (num_test in "
    "experiments/study/families.py). Contaminated U: with foreign classes half of U is of five "
    "classes that D, V and the test set do not have, so the task is one of five classes and its "
    "errors are not comparable with those of ten; a corrupt image has its pixels in a random "
    "order; with imbalanced classes the last class of U has a tenth of the first's images.",
    "All seeds of a family share one V; D, the initial values and the batches change with the "
    "seed. What a table says of V is said of that draw, above all where V is small. The family "
    "other_v draws V by the seed too, and so does IMDb, whose D is UDA's own.",
    "The step size of one learned λ is a tenth of that of Λ per example, since every Λ-step moves "
    "it; neither was tuned. Supervised training sees nothing of U, in BatchNorm's statistics "
    "either, which is more than λ = 0.",
    "λ tuned on V is, for each seed, the run of the grid with the least error on V (median of the "
    "last 20 evaluations; ties by the loss on V). It stands only where the whole grid was run.",
    "Cross-fit is not in the paper. It needs no V: two models are trained on half of the labels "
    "each, each is validated on the other's half, and both share Λ. Fixed before any run: its "
    "number is the error of the ensemble (mean probabilities), which has seen all the labels; the "
    "mean error of its two single models stands below it. An ensemble is twice the work, so λ = 1 "
    "on the same two models is its control. Its error on V is that on the other's half. Where V's "
    "labels are not used, V is still kept out of U, so that all rows of a table share D, U and the "
    "test set.",
    "Cross-fit, confidence as λ and the oracle read nothing of V: they were run at one size of it; "
    "cross-fit, which takes twice the time, with three seeds. "
    "The oracle knows the true labels and drops the rows whose pseudo-label is wrong: a mark to "
    "measure learned weights by, no bound.",
)
MEASURED = (
    "What the Λ-steps measured, medians over the steps. Cosine: of the solved direction and the "
    "validation gradient, 1 where the Hessian does not matter. H over damping: norm of the Hessian "
    "over what is added to it. ρ: rank correlation of two measurements of the same scores: by the "
    "last direction and the fresh one, by two halves of V, by the two models of a cross-fit. "
    "Scores that are noise of the validation gradient do not correlate."
)
COMMANDS = (
    "./run_all.sh --profile=study --data_dir=FOLDER_OF_CIFAR10_AND_IMDB\n"
    "./run_all.sh --profile=study --only='fashion_mnist_v160/cross_fit*'\n"
    "python -m experiments.run_study --record= --only=FAMILY/METHOD  # runs.csv's, made again\n"
    "python -m experiments.make_study"
)


def study_document(plans: Sequence[FamilyPlan], rows: Mapping[Key, Row]) -> Document:
    """Build the page of whatever was run."""
    families, unused = sort_into(plans, rows)
    there = [family for family in families if family.rows]
    primary = [family for family in there if not family.plan.secondary]
    count = sum(len(family.rows) for family in families)
    wanted = sum(len(f.plan.options) for f in families)
    blocks = [
        Lead((*RULES[:1],)) if there else Lead(("No run of the study is finished.",)),
        *(_findings(primary) if primary else []),
        *[Paragraph(text) for text in RULES[1:]],
        *_validation_blocks(there),
        Heading("Results"),
        *[block for family in primary for block in _family_blocks(family)],
        *_mechanics_blocks(there),
        *_secondary_blocks(there),
        *_missing_blocks(families, unused),
        *_origin_blocks(there),
    ]
    subtitle = f"{count} of {plural(wanted, 'run')} finished; what is missing is listed below."
    return Document(TITLE, subtitle, tuple(blocks))


def write_study(plans: Sequence[FamilyPlan], rows: Mapping[Key, Row], out: Path | str) -> Document:
    """Write figures/*.png, runs.csv and README.md below `out`, the page last.

    Pictures of an earlier page that this one does not show are deleted.

    Raises:
        OSError: `out` cannot be written.
    """
    folder, document = Path(out), study_document(plans, rows)
    pictures = {f"{one.name}.png": one.png for one in pictures_in(document.blocks)}
    for name, png in pictures.items():
        write_atomically(folder / "figures" / name, png)
    write_atomically(folder / "runs.csv", rows_text(rows.values()).encode("utf-8"))
    write_atomically(folder / "README.md", render_markdown(document).encode("utf-8"))
    for path in folder.glob("figures/*.png"):
        if path.name not in pictures:
            path.unlink()
    return document


def _findings(families) -> list[Block]:
    """Return what the intervals say, family by family; nothing else is claimed."""
    items = []
    for family in families:
        parts = []
        for method, reference in (
            (BASE, "supervised"),
            (LEARNED, BASE), (LEARNED, TUNED), (LEARNED, "single"), (LEARNED, "shuffled"),
            (LEARNED, V_AS_LABELS), (EVERY_STEP, BASE), (EVERY_STEP, LEARNED), (EVERY_STEP, TUNED),
            (EVERY_STEP, "shuffled_every_step"), ("oracle", BASE), ("cross_fit", BASE),
            ("cross_fit", "cross_fit_fixed"),
        ):  # fmt: skip
            difference = family.difference(method, reference)
            if difference is not None:
                verdict = study_tables.reading(difference, "better", "worse")
                names = f"{study_tables.label(method)} against {study_tables.label(reference)}"
                parts.append(f"{names}: {study_tables.difference_text(difference)}, {verdict}")
        if parts:
            items.append(Bullet(f"{family.title}.", ". ".join(parts) + "."))
    return [Heading("What the intervals say"), Bullets(tuple(items))] if items else []


def _family_blocks(family: Family) -> list[Block]:
    blocks: list[Block] = [Heading(family.title, 3), study_tables.results_table(family)]
    differences = study_tables.differences_table(family)
    if differences.rows:
        blocks.append(differences)
    picture = None if family.plan.secondary else study_figures.error_picture(family)
    return blocks + ([picture] if picture else [])


def _secondary_blocks(families) -> list[Block]:
    found = [family for family in families if family.plan.secondary]
    blocks = [block for family in found for block in _family_blocks(family)]
    return [Heading("Secondary"), *blocks] if blocks else []


def _validation_blocks(families) -> list[Block]:
    table = study_tables.validation_table(families)
    if not table.rows:
        return []
    clean = [f for f in families if f.plan.contamination == "none" and not f.plan.variant]
    pictures = []
    for name in unique([family.plan.dataset for family in clean]):
        same = [family for family in clean if family.plan.dataset == name]
        pictures.append(study_figures.size_picture(same))
    pictures = [picture for picture in pictures if picture]
    text = "V is extra labels. This is what they are worth as labels, beside learning Λ on them."
    shown = [Pictures(tuple(pictures))] if pictures else []
    return [Heading("Learn Λ on V, or train on V?"), Paragraph(text), table, *shown]


def _mechanics_blocks(families) -> list[Block]:
    movement = study_tables.movement_table(families)
    if not movement.rows:
        return []
    contaminated = [f for f in families if f.plan.contamination != "none"]
    pictures = [study_figures.group_picture(family) for family in contaminated]
    pictures = tuple(picture for picture in pictures if picture)
    return [
        Heading("What λ does"),
        Paragraph(
            "λ is over all of U, at the end; of the shuffled controls as it was learned, before it "
            "is dealt to other examples. Moved: share of U updated at least once. Between classes: "
            "share of the variance of the moved λ that lies between pseudo-classes; 100 % were one "
            "weight a class."
        ),
        movement,
        Paragraph(MEASURED),
        study_tables.measurement_table(families),
        Heading("λ by group", 3),
        study_tables.groups_table(families),
        *([Pictures(pictures)] if pictures else []),
        Heading("Does −λ find what should weigh little?", 3),
        Paragraph(
            "AUROC over the examples whose λ was updated: 1 ranks all suspects first, 0.5 is "
            "chance. Pseudo-label, confidence and loss are the final model's. Within a "
            "pseudo-class: the mean of the areas among examples with one pseudo-label, which a "
            "weight a class cannot tell apart."
        ),
        study_tables.detection_table(families),
    ]


def _missing_blocks(families, unused) -> list[Block]:
    table = study_tables.missing_table(families)
    blocks: list[Block] = [Heading("Not run")]
    blocks.append(table if table.rows else Paragraph("Nothing is missing."))
    if unused:
        names = ", ".join("/".join(map(str, key)) for key in unused)
        blocks.append(
            Paragraph(f"Recorded with other options than the study's, counted nowhere: {names}.")
        )
    return blocks


def _origin_blocks(families) -> list[Block]:
    runs = [row for family in families for row in family.rows.values()]
    blocks: list[Block] = [Heading("How it was run"), Code(COMMANDS)]
    if not runs:
        return blocks
    seconds = [row.seconds for row in runs if row.seconds is not None]
    commits = unique([row.commit or "unknown" for row in runs])
    hours = f"{sum(seconds) / 3600:.1f} hours in {plural(len(seconds), 'run')}"
    items = (
        Bullet("Data.", "; ".join(unique([row.source for row in runs])) + "."),
        Bullet("Code.", f"Commit {', '.join(commits)}."),
        Bullet("Time.", f"{hours}, machines shared; what they stood still is counted."),
        Bullet("Options.", "experiments/study/families.py; one line a run in runs.csv."),
    )
    return [*blocks, Bullets(items)]
