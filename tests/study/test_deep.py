"""The study's section on deep nets, on made-up rows; and its families."""

import dataclasses
import fnmatch
import re

import pytest
from study_rows import by_key, plan, row

from experiments import measure_agreement
from experiments.pages.document import Document
from experiments.pages.render_markdown import render_markdown
from experiments.study import deep
from experiments.study.agreement import Agreement
from experiments.study.deep_families import DEEP, REFERENCE, TOP
from experiments.study.families import SECONDARY, STUDY
from experiments.study.families_found import families
from experiments.study.page import COMMANDS, study_documents
from experiments.study.profiles import configs

ERRORS = {"fixed_1": (40.0, 41.0, 42.0)}
WHOLE = {
    "last_layer": (39.0, 40.0, 41.5), "whole_cg": (38.0, 38.0, 41.0), "whole_ekfac": (39.0,),
}  # fmt: skip


def rows_of(errors, family):
    return [
        row(method, seed, error, family)
        for method, found in errors.items()
        for seed, error in enumerate(found, 1)
    ]


def agreed(family, method, *values):
    return {
        (family, method, seed): Agreement(family, method, seed, 90, value, value, value, "")
        for seed, value in enumerate(values, 1)
    }


PLANS = (plan(REFERENCE), plan(DEEP, tuple(WHOLE), secondary=True, reference=REFERENCE))


@pytest.fixture
def rows():
    return by_key(rows_of(ERRORS, REFERENCE) + rows_of(WHOLE, DEEP))


def lines(rows, agreements):
    found, _ = families(PLANS, rows)
    text = render_markdown(Document("t", "s", tuple(deep.blocks(found, agreements))))
    text = text.replace("\\", "")  # Markdown's own
    return [line for line in text.splitlines() if line.startswith("| fashion")]


def test_agreement_stands_beside_error_and_differences_by_hand(rows):
    agreements = agreed(DEEP, "whole_cg", 0.5, 0.7, -0.3) | agreed(DEEP, "last_layer", 0.1)
    base, learned, cg, ekfac = lines(rows, agreements)
    # Last layer − base: −1, −1, −0.5; t(2) = 4.303, s = 0.2887.
    assert "| base (λ = 1) | – | 41.00 ± 1.00 | +0.83 [+0.12, +1.55] (3) | – |" in base
    assert "| 0.10 [0.10, 0.10] (1) | 40.17 ± 1.26 | – | −0.83 [−1.55, −0.12] (3) |" in learned
    # −1, −2, −0.5 and −2, −3, −1.
    assert "| 0.30 [−0.30, 0.70] (3) | 39.00 ± 1.73 | −1.17 [−3.06, +0.73] (3) " in cg
    assert cg.endswith("| −2.00 [−4.48, +0.48] (3) |")
    assert "| – | 39.00 | 0.00 (1) | −1.00 (1) |" in ekfac


def test_an_agreement_counts_only_beside_its_run(rows):
    agreements = agreed(DEEP, "whole_cg", 0.5, 0.7, 0.9)
    del rows[DEEP, "whole_cg", 3]
    assert "| 0.60 [0.50, 0.70] (2) |" in lines(rows, agreements)[2]


def test_runs_of_another_split_are_no_pair(rows):
    key = (DEEP, "whole_cg", 1)
    rows[key] = dataclasses.replace(rows[key], split="other")
    assert lines(rows, {})[2].count("(2)") == 2


def test_the_section_stands_on_the_page_where_such_runs_are(rows):
    def page(of):
        return render_markdown(study_documents(PLANS, of)["nets.md"])

    assert deep.TITLE in page(rows)
    assert deep.TITLE not in page({key: one for key, one in rows.items() if key[0] != DEEP})


def test_the_families_differ_from_their_last_layers_row_in_eq_6_alone():
    assert {DEEP, TOP} <= SECONDARY.keys()
    reference = STUDY[REFERENCE]["options"]
    moved = {name for name, value in STUDY[DEEP]["options"].items() if reference.get(name) != value}
    slower = {"inner_steps", "lambda_lr", "solve_iterations", "checkpoint_every"}
    assert moved == slower
    assert STUDY[TOP]["own_v"] and "own_v" not in STUDY[DEEP] | STUDY[REFERENCE]
    same = {"influence_params", "inverse_hessian", "weighting", "out"}
    for family in (DEEP, TOP):
        found = {tuple(c.out.split("/")[-2:]): c for c in configs("study", family, "")}
        assert {seed for _, seed in found} == {f"seed_{n}" for n in range(1, 6)}
        for (method, seed), config in found.items():
            ours, other = vars(config), vars(found["last_layer", seed])
            assert other["influence_params"] == "last_layer"
            if method.startswith("whole"):
                assert config.influence_params == "all"
                assert {name for name in ours if ours[name] != other[name]} <= same
    top = next(c for c in configs("study", TOP, "") if "/whole_cg/" in c.out)
    assert top.head == "mlp" and top.backbone == "efficientnet_lite0" and top.inner == "steps"


def test_the_command_of_the_page_names_every_learned_run_of_these_families_and_no_other():
    (pattern,) = re.findall(r"measure_agreement --only='(.*)'", COMMANDS)
    assert f"measure_agreement --only='{pattern}'" in measure_agreement.__doc__
    named, learned = set(), set()
    for family, one in STUDY.items():
        for method, options in one["methods"].items():
            name = f"{family}/{method}/seed_1"
            if any(fnmatch.fnmatchcase(name, one) for one in pattern.split(",")):
                named.add(name)
            if family in (DEEP, TOP) and options.get("weighting") in ("per_example", "shuffled"):
                learned.add(name)
    assert named == learned and len(learned) == 7
