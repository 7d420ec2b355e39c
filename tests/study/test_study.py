"""The study's page and record: numbers by hand, partial results, nothing invented."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import reporting_runs as made
from study_rows import OPTIONS, WEIGHTS, by_key, plan, row

from experiments.pages.plotting import series_colour, series_marker
from experiments.pages.render_markdown import render_markdown
from experiments.runs.record import read_run
from experiments.runs.run_files import RunError
from experiments.study import tables as study_tables
from experiments.study.families_found import families
from experiments.study.figures import error_picture
from experiments.study.page import TITLE, study_documents, write_study
from experiments.study.rows import Row, group_names, read_rows, row_of, rows_text

ERRORS = {
    "supervised": (40.0, 41.0, 42.0), "fixed_0.3": (30.0, 33.0, 33.0),
    "fixed_1": (31.0, 32.0, 34.0), "v_as_labels": (20.0, 21.0, 22.0),
    "per_example": (30.0, 31.0, 33.0),
}  # fmt: skip


def rows_of(errors, **fields):
    return [
        row(method, seed, error, **fields | (WEIGHTS if method == "per_example" else {}))
        for method, found in errors.items()
        for seed, error in enumerate(found, 1)
    ]


def family(rows, **fields):
    (found,), unused = families([plan(**fields)], by_key(rows))
    return found, unused


def test_the_tuned_scalar_is_each_seeds_best_on_v():
    rows = rows_of(ERRORS)
    found, _ = family(rows)
    assert {s: r.method for s, r in found.of("tuned").items()} == {
        1: "fixed_0.3", 2: "fixed_1", 3: "fixed_0.3",
    }  # fmt: skip
    assert found.errors("tuned") == {1: 30.0, 2: 32.0, 3: 33.0}
    assert found.choices() == "seed 1: 0.3, seed 2: 1, seed 3: 0.3"
    assert found.methods().index("tuned") == found.methods().index("fixed_1") + 1
    tied = [dataclasses.replace(r, validation_error=10.0) for r in rows]
    tied = [
        dataclasses.replace(r, validation_loss=0.5) if r.method == "fixed_1" else r for r in tied
    ]
    assert {r.method for r in family(tied)[0].of("tuned").values()} == {"fixed_1"}
    without = [r for r in rows if (r.method, r.seed) != ("supervised", 2)]
    assert set(family(without)[0].of("tuned")) == {1, 3}, "no choice from part of a grid"


def test_differences_are_paired_by_seed_and_split():
    found, _ = family(rows_of(ERRORS))
    difference = found.difference("per_example", "fixed_1")
    assert difference.mean == pytest.approx(-1.0) and difference.seeds == (1, 2, 3)
    assert found.difference("cross_fit", "fixed_1") is None
    moved = [dataclasses.replace(r, split="x") if r.seed == 3 else r for r in rows_of(ERRORS)]
    moved = [dataclasses.replace(r, split=f"y{r.method}") if r.seed == 2 else r for r in moved]
    found, _ = family(moved)
    assert found.difference("per_example", "fixed_1").seeds == (1, 3)
    (note,) = study_tables.differences_table(found).notes[:1]
    assert note == "supervised (λ = 0) − base (λ = 1): seed 2 left out: unlike split."
    assert found.difference("per_example", "v_as_labels").seeds == (1, 2, 3)
    copied = [dataclasses.replace(r, source="a copy") if r.seed == 1 else r for r in moved]
    copied = [r if r.method == "per_example" else s for r, s in zip(copied, moved, strict=True)]
    found, _ = family(copied)
    assert found.difference("per_example", "v_as_labels").seeds == (2, 3)
    assert found.unlike("per_example", "fixed_1") == {1: ["source"], 2: ["split"]}


def test_missing_and_foreign_rows_are_told_apart():
    rows = rows_of(ERRORS)[:-1]
    rows.append(dataclasses.replace(rows[0], method="per_example", seed=3, options="other"))
    found, unused = family(rows)
    assert found.missing == {"per_example": [3], "cross_fit": [1, 2, 3]}
    assert unused == [("fashion_mnist_v160", "per_example", 3)]
    pages = study_documents([plan()], by_key(rows))
    assert "14 of 18 runs finished" in render_markdown(pages["README.md"])
    text = render_markdown(pages["method.md"])
    assert "| 4 of 18 | per\\_example (seed 3); cross\\_fit (seed 1, 2, 3) |" in text
    assert "counted nowhere: fashion\\_mnist\\_v160/per\\_example/3." in text


def test_tables_by_hand():
    found, _ = family(rows_of(ERRORS))
    table = {r[0]: r for r in study_tables.results_table(found).rows}
    assert table["base (λ = 1)"][1:] == ("32.33 ± 1.53",) * 2 + (
        "33.33 ± 1.53",
        "32.33 ± 1.53",
        "3 of 3",
    )
    assert table["Λ per example"][2] == "31.33 ± 1.53 †"
    (line,) = study_tables.overview_table([found]).rows
    assert line[0].link == "families/fashion_mnist_v160.md" and line[-1] == "15 of 18"
    assert (line[6].text, line[6].strong) == ("−10.33 [−11.77, −8.90] (3)", True)
    assert (line[2].text, line[2].strong) == ("−1.00 [−1.00, −1.00] (3)", True)
    readings = {r[0]: r[1:] for r in study_tables.comparisons_table(found).rows}
    name = "base, V as labels − Λ per example"
    assert readings[name] == ("−10.33 [−11.77, −8.90] (3)", "better")
    (answer,) = (p for p in study_tables.answers([found]).items if "trained on" in p.opening)
    expected = "base, V as labels, against Λ per example: better in 1, worse in 0 of 1 setting."
    assert answer.text == expected
    assert study_tables.reading(found.difference("v_as_labels", "per_example"), "b", "w") == "b"
    assert study_tables.reading(None, "b", "w") == "not run"
    groups = {r[1]: r[2:] for r in study_tables.groups_table(found).rows}
    assert groups["foreign"] == ("40.0 %", "0.800 ± 0.000", "0.100 ± 0.000", "90.0 %")
    finds = {r[1]: r[2:] for r in study_tables.detection_table(found).rows}
    assert finds["wrong"] == ("0.510 ± 0.000", "0.900 ± 0.000", "–")


def test_cross_fit_shows_the_ensemble_and_its_members():
    rows = [*rows_of(ERRORS), row("cross_fit", 1, 28.0, single_test_error=29.5)]
    found, _ = family(rows)
    table = study_tables.results_table(found).rows
    place = next(k for k, r in enumerate(table) if r[0].startswith("Λ by cross-fit"))
    assert (table[place][1], table[place + 1][1]) == ("28.00", "29.50")
    assert table[place + 1][0] == "– mean error of its single models"
    differences = {r[0]: r[1] for r in study_tables.differences_table(found).rows}
    assert differences["Λ by cross-fit, no V: ensemble of two"] == "−3.00 (1)"
    assert differences["Λ by cross-fit, no V: ensemble of two, single models"] == "−1.50 (1)"


def test_a_picture_says_when_its_means_are_over_different_seeds():
    found, _ = family(rows_of(ERRORS))
    assert "Runs are missing: compare by the paired" in error_picture(found).caption
    (whole,), _ = families([plan(methods=tuple(ERRORS))], by_key(rows_of(ERRORS)))
    assert "missing" not in error_picture(whole).caption


def test_a_sweep_borrows_its_reference_rows():
    sweep = plan("fashion_mnist_v160_damping", ("damping_1",), secondary=True, variant="damping",
                 reference="fashion_mnist_v160")  # fmt: skip
    rows = [*rows_of(ERRORS), row("damping_1", 2, 30.0, "fashion_mnist_v160_damping", **WEIGHTS)]
    found, _ = families([plan(), sweep], by_key(rows))
    assert found[1].difference("damping_1", "fixed_1").mean == -2.0
    table = study_tables.results_table(found[1])
    assert any("rows of fashion_mnist_v160 are over all its seeds" in note for note in table.notes)
    names = [r[0] for r in table.rows]
    assert names == ["base (λ = 1)", "λ tuned on V", "Λ per example", "damping_1"]


def test_the_page_of_partial_results(tmp_path):
    plans = [
        plan(), plan("fashion_mnist_v10", val_size=10),
        plan("fashion_mnist_foreign_v160", contamination="foreign"),
        plan("cifar10_v50", dataset="cifar10", val_size=50), plan("cifar10_v1024"),
    ]  # fmt: skip
    copy = "cifar10: cifar-10-batches-py, unofficial copy, results are not comparable"
    rows = [*rows_of(ERRORS), row("fixed_1", 1, 50.0, "cifar10_v50", source=copy)]
    for name in ("fashion_mnist_v10", "fashion_mnist_foreign_v160"):
        rows += rows_of({"fixed_1": (30.0, 31.0), "per_example": (29.0, 33.0)}, family=name)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "old.png").touch()
    (tmp_path / "families").mkdir()
    (tmp_path / "families" / "old.md").write_text("![Old](../figures/old.png)\n")
    (tmp_path / "README.md").write_text(f"# {TITLE}\n[old](families/old.md)\n")
    (tmp_path / "findings.md").write_text("# By hand\n")
    write_study(plans, by_key(rows), tmp_path)
    pages = {path: path.read_text() for path in tmp_path.rglob("*.md")}
    assert {path.name for path in pages} == {
        "README.md", "findings.md", "method.md", "nets.md", "gains.md", "cifar10_v50.md",
        *(f"fashion_mnist_{name}.md" for name in ("v160", "v10", "foreign_v160")),
    }  # fmt: skip
    text = "".join(pages.values())
    assert "CIFAR-10, JPEG copy, not comparable with published numbers: 40 labels" in text
    assert "| cifar10\\_v1024 | primary | 18 of 18 | all |" in pages[tmp_path / "method.md"]
    assert broken_links(tmp_path) == []
    shown = set(re.findall(r"figures/([\w-]+\.png)\)", text))
    assert shown == {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"groups-fashion-mnist-foreign-v160.png", "sizes-fashion-mnist.png"} < shown
    assert all((tmp_path / "figures" / name).stat().st_size < 150_000 for name in shown)
    assert read_rows(tmp_path / "runs.csv") == by_key(rows)


def test_an_empty_study_says_so():
    pages = study_documents([plan()], {})
    assert "No run of the study is finished." in render_markdown(pages["README.md"])
    assert "| 18 of 18 | all |" in render_markdown(pages["method.md"])


def broken_links(folder):
    """Return the links of a folder's pages that lead nowhere: files, and headings in them."""
    found = []
    for path in folder.rglob("*.md"):
        for link in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            titles = re.findall(r"(?m)^#+ (.+)$", target.read_text("utf-8")) if anchor else ()
            anchors = {re.sub(r"[^\w\- ]", "", t).strip().lower().replace(" ", "-") for t in titles}
            if "://" not in link and not (target.is_file() and anchor in {"", *anchors}):
                found.append(f"{path.name}: {link}")
    return found


def test_every_link_in_the_repository_s_study_leads_somewhere():
    folder = Path(__file__).parents[2] / "docs" / "study"
    assert broken_links(folder) == [] and len(list(folder.rglob("*.md"))) > 10
    assert len((folder / "README.md").read_text().split()) < 2000, "one page of answers"


def test_the_record_survives_its_file(tmp_path):
    rows = [*rows_of(ERRORS), row("cross_fit", 1, 28.0, single_test_error=29.5, commit="")]
    path = tmp_path / "runs.csv"
    assert read_rows(path) == {}
    path.write_text(rows_text(reversed(rows)), encoding="utf-8")
    assert read_rows(path) == by_key(rows)
    assert path.read_text().splitlines()[0].startswith("family,method,seed,options,commit")
    text = path.read_text()
    for bad, message in (
        (text + text.splitlines()[1] + "\n", "stands there twice"),
        (text.replace(",3000,", ",many,", 1), "line 2: `steps` must be int. Received: 'many'"),
        (text.replace(",auroc,", ",area,"), "`auroc` must be dict. Received: None"),
    ):
        path.write_text(bad, encoding="utf-8")
        with pytest.raises(RunError, match=re.escape(message)):
            read_rows(path)


def test_a_row_of_a_run_folder(tmp_path):
    table = made.weights(n=20, wrong=(0, 1))
    table["group"] = np.array(["foreign"] * 5 + ["own"] * 15)
    table["true_label"][:5] = [0, 1, -1, -1, -1]
    table["visits"][19] = 0
    lines = [
        {"kind": "lambda", "step": s, "stale_fresh_spearman": v, "lam_quantiles": None}
        for s, v in ((5, None), (10, 0.2), (20, 0.4))
    ]
    folder = made.write_run(
        tmp_path, "f/per_example/seed_1", algorithm="fixmatch", weighting="per_example",
        table=table, lambdas=lines, config={"commit": "abc"}, summary={"seconds": 12.3456789},
    )  # fmt: skip
    found = row_of(read_run(folder, "r"), ("f", "per_example", 1), OPTIONS)
    assert isinstance(found, Row) and found.key == ("f", "per_example", 1)
    assert (found.commit, found.seconds, found.lambda_steps) == ("abc", 12.3457, 3)
    assert (found.test_error, found.raw_test_error, found.validation_error) == (20.0, 21.0, 20.0)
    assert (found.moved, found.visits) == (0.95, 2.85)
    assert found.lam_mean == pytest.approx(1.05) and found.lam_low < found.lam_high
    assert found.medians == {"stale_fresh_spearman": pytest.approx(0.3)}
    assert set(found.lam_by_group) == {"right pseudo-label", "wrong pseudo-label", "foreign", "own"}
    assert found.lam_by_group["foreign"][:2] == [5, pytest.approx(0.3)]
    # λ rises with the id, confidence too, loss falls: all three find the first ids.
    assert found.auroc["foreign/lam"] == found.auroc["foreign/confidence"] == 1.0
    assert found.auroc["wrong, within a pseudo-class/lam"] == 1.0
    assert 0.0 < found.between_classes < 0.05, "λ rises with the id, classes alternate"
    assert found.auroc["wrong/loss"] == 1.0, "ids 0 and 1 are wrong, 2 to 4 have no label"
    summary = {"seconds": None}
    fixed = made.write_run(
        tmp_path, "g", algorithm="fixmatch", table=made.weights(), summary=summary
    )
    bare = row_of(read_run(fixed, "g"), ("f", "fixed_1", 1), OPTIONS)
    assert bare.lam_mean is None and bare.auroc == {} and bare.seconds is None


def test_groups_stand_by_pseudo_label_then_by_size():
    sizes = {"Bag": 5, "Coat": 20, "wrong pseudo-label": 30, "right pseudo-label": 12, "Ankle": 17}
    runs = [
        row("per_example", seed, 30.0, lam_by_group={n: [k, 1.0, 0, 1] for n, k in found.items()})
        for seed, found in enumerate((sizes, {"Bag": 20, "Dress": 1}))
    ]
    expected = ["right pseudo-label", "wrong pseudo-label", "Bag", "Coat", "Ankle", "Dress"]
    assert group_names(runs) == expected


def test_series_that_share_a_colour_differ_in_their_marker():
    looks = [(series_colour(k), series_marker(k)) for k in range(2 + 10)]  # Fashion-MNIST's groups
    assert len(set(looks)) == len(looks)
