"""docs/study from rows alone: the answers, a page a family, the method, pictures, the record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

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
from experiments.pages.files import write_pages
from experiments.pages.render_markdown import render_markdown
from experiments.pages.wording import plural, unique
from experiments.study import deep, gains
from experiments.study import figures as study_figures
from experiments.study import tables as study_tables
from experiments.study.ablation_curves import FILE as CURVES
from experiments.study.ablation_curves import Curve, Curves
from experiments.study.ablations import PAGE as ABLATIONS_PAGE
from experiments.study.ablations import ablations_document
from experiments.study.agreement import FILE as AGREEMENT_FILE
from experiments.study.agreement import Agreement, read_agreements
from experiments.study.families_found import Family, FamilyPlan
from experiments.study.families_found import families as sort_into
from experiments.study.headline import PAGE as FEATURES_PAGE
from experiments.study.headline import RULES as FEATURE_RULES
from experiments.study.headline import TITLE as FEATURE_TITLE
from experiments.study.headline import headline_pages
from experiments.study.rows import Key, Row, rows_text

TITLE = "The study: is a weight for each unlabeled example worth its labels?"
METHOD = "method.md"
NETS = "nets.md"
ANSWERS = Bullet("The answers, and all settings.", "", "README.md")
NETS_TITLE = "On nets from scratch"
CONTENTS = (
    Bullet("What we make of it,", "with what was tried beside it.", "findings.md"),
    Bullet("Method:", "how to read the tables, how to make the runs, what was not run.", METHOD),
    Bullet("runs.csv:", "one line a run; all pages are made from it.", "runs.csv"),
)
# Pages that are there where their runs are.
PAGES = {
    FEATURES_PAGE: Bullet(f"{FEATURE_TITLE}:", "every claim with its interval.", FEATURES_PAGE),
    NETS: Bullet(f"{NETS_TITLE}:", "setting by setting, and the influence of whole nets.", NETS),
    gains.PAGE: Bullet("When to use what:", "gains and what goes with them.", gains.PAGE),
    ABLATIONS_PAGE: Bullet("The paper's ablations", "beside what it says of them.", ABLATIONS_PAGE),
}
SHORT = (
    "Test errors in percent, compared over runs that share seed, split, source, devices and "
    "precision; two-sided 95 % t-intervals, not corrected for their number. Better: the interval "
    "of the difference lies below zero; worse: above it. Counted over the primary settings."
)
OVERVIEW = (
    "Differences in points with the number of seeds; bold where the interval leaves zero. A dash: "
    "not both were run."
)
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
    "seed. What a table says of V is said of that draw, above all where V is small. The families "
    "other_v and top_group draw V by the seed too, and so does IMDb, whose D is UDA's own.",
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
MOVED = (
    "λ is over all of U, at the end; of the shuffled controls as it was learned, before it is "
    "dealt to other examples. Moved: share of U updated at least once. Between classes: share of "
    "the variance of the moved λ that lies between pseudo-classes; 100 % were one weight a class."
)
FOUND = (
    "AUROC over the examples whose λ was updated: 1 ranks all suspects first, 0.5 is chance. "
    "Pseudo-label, confidence and loss are the final model's. Within a pseudo-class: the mean of "
    "the areas among examples with one pseudo-label, which a weight a class cannot tell apart."
)
MEASURED = (
    "Medians over the Λ-steps. Cosine: of the solved direction and the "
    "validation gradient, 1 where the Hessian does not matter. H over damping: norm of the Hessian "
    "over what is added to it. ρ: rank correlation of two measurements of the same scores: by the "
    "last direction and the fresh one, by two halves of V, by the two models of a cross-fit. "
    "Scores that are noise of the validation gradient do not correlate."
)
COMMANDS = (
    "./run_all.sh --profile=study --data_dir=FOLDER_OF_CIFAR10_AND_IMDB\n"
    "./run_all.sh --profile=study --only='fashion_mnist_v160/cross_fit*'\n"
    "python -m experiments.run_study --record= --only=FAMILY/METHOD  # runs.csv's, made again\n"
    "python -m experiments.measure_agreement --only='*/last_layer/*,*/whole_*'\n"
    "python -m experiments.make_study"
)


def study_documents(
    plans: Sequence[FamilyPlan],
    rows: Mapping[Key, Row],
    agreements: Mapping[Key, Agreement] = MappingProxyType({}),
    curves: Curves = MappingProxyType({}),
) -> dict[str, Document]:
    """Build the pages of whatever was run: file -> page, the one to begin with last."""
    families, unused = sort_into(plans, rows)
    there = [family for family in families if family.rows]
    pages = {f"families/{family.plan.name}.md": _family_page(family) for family in there}
    rules = [Heading(NETS_TITLE), *map(Paragraph, RULES)]
    rules += [Heading(FEATURE_TITLE), *map(Paragraph, FEATURE_RULES)]
    blocks = (*rules, *_missing_blocks(families, unused), *_origin_blocks(there))
    subtitle = "How to read the tables, how the runs were made, and what was not run."
    pages[METHOD] = Document("The study: method", subtitle, (Bullets((ANSWERS,)), *blocks))
    on_features = [family for family in there if family.plan.on_features]
    nets = [family for family in there if not family.plan.on_features]
    of_features, page_of_features = headline_pages(on_features)
    of_gains, page_of_gains = gains.gains_pages(there, agreements)
    beside = {
        FEATURES_PAGE: page_of_features,
        NETS: _nets_document(nets, deep.blocks(families, agreements)),
        gains.PAGE: page_of_gains,
        ABLATIONS_PAGE: ablations_document({family.plan.name: family for family in there}, curves),
    }
    beside = {name: page for name, page in beside.items() if page}
    count, wanted = len(rows) - len(unused), sum(len(f.plan.options) for f in families)
    subtitle = f"{count} of {plural(wanted, 'run')} finished; method.md lists what is missing."
    front = [Bullets((*(PAGES[name] for name in beside), *CONTENTS))]
    if there:
        front += [*of_features, *of_gains, *_front_of_nets(nets)]
    else:
        front = [Lead(("No run of the study is finished.",)), Bullets(CONTENTS[-2:])]
    return pages | beside | {"README.md": Document(TITLE, subtitle, tuple(front))}


def write_study(
    plans: Sequence[FamilyPlan],
    rows: Mapping[Key, Row],
    out: Path | str,
    curves: Curves = MappingProxyType({}),
) -> Document:
    """Write figures/*.png, the records and the pages below `out`, README.md last; return that page.

    Pictures and pages of families that an earlier study had and this one has not are deleted.

    Raises:
        ValueError: `out` holds another README.md.
        RunError: its record of agreements cannot be read.
        OSError: `out` cannot be written.
    """
    pages = study_documents(plans, rows, read_agreements(Path(out) / AGREEMENT_FILE), curves)
    pictures = {p.name: p.png for page in pages.values() for p in pictures_in(page.blocks)}
    files = {f"figures/{name}.png": png for name, png in pictures.items()}
    files["runs.csv"] = rows_text(rows.values())
    if curves:
        files[CURVES] = rows_text(curves.values(), Curve)
    for name, page in pages.items():
        figures = "../figures" if "/" in name else "figures"
        files[name] = render_markdown(page, figures)
    write_pages(Path(out), files, {"README.md": TITLE}, ("figures/*.png", "families/*.md"))
    return pages["README.md"]


def _back(folder):
    return Bullets(
        (
            dataclasses.replace(ANSWERS, link=f"{folder}README.md"),
            Bullet("How to read the tables.", "", f"{folder}{METHOD}"),
        )
    )


def _front_of_nets(nets):
    """Return what README.md says of nets: answers and pictures."""
    primary = [family for family in nets if not family.plan.secondary]
    if not primary:
        return []
    pictures = [study_figures.error_picture(primary[0])]
    clean = [f for f in nets if f.plan.contamination == "none" and not f.plan.variant]
    for name in unique([family.plan.dataset for family in clean]):
        pictures.append(study_figures.size_picture([f for f in clean if f.plan.dataset == name]))
    return [
        Heading(NETS_TITLE),
        Lead((SHORT,)),
        study_tables.answers(primary),
        Pictures(tuple(picture for picture in pictures if picture)),
    ]


def _nets_document(nets, agreed) -> Document | None:
    """Return the page of nets; None where none was run."""
    if not nets:
        return None
    blocks = (Heading("Setting by setting"), Paragraph(OVERVIEW), study_tables.overview_table(nets))
    subtitle = "The differences that README.md counts, each linked to its tables."
    return Document("The study: on nets from scratch", subtitle, (*blocks, *agreed))


def _family_page(family: Family) -> Document:
    plan = family.plan
    errors = None if plan.secondary else study_figures.error_picture(family)
    groups = study_figures.group_picture(family) if plan.contamination != "none" else None
    blocks: list[Block] = [_back("../")]
    for title, text, table, picture in (
        ("Test error", "", study_tables.results_table(family), errors),
        ("Paired differences", "", study_tables.differences_table(family), None),
        ("What they say", "", study_tables.comparisons_table(family), None),
        ("What λ does", MOVED, study_tables.movement_table(family), None),
        ("What the Λ-steps measured", MEASURED, study_tables.measurement_table(family), None),
        ("λ by group", "", study_tables.groups_table(family), groups),
        ("Does −λ find suspects?", FOUND, study_tables.detection_table(family), None),
    ):
        if table.rows:
            blocks += [Heading(title), *([Paragraph(text)] if text else []), table]
            blocks += [picture] if picture else []
    count = f"{len(family.rows)} of {plural(len(plan.options), 'run')} finished"
    kind = "secondary" if plan.secondary else "primary"
    return Document(family.title, f"Family {plan.name}, {kind}: {count}.", tuple(blocks))


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
