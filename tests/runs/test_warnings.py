"""What a run says of itself before it starts and when it is done: header, estimate, warnings."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from reporting_runs import write_run

from experiments.assemble.build import settings_of
from experiments.make_report import console_text
from experiments.options.presets import make_config
from experiments.report.provenance import WARNINGS
from experiments.report.report import write_report
from experiments.runs import header
from experiments.runs import log as run_log
from experiments.runs.machine import continued
from experiments.runs.warnings import foreseen, warnings_of
from ssl_weighting.training.optimizers import weight_store

GOOD = {
    "class_names": ["cat", "dog"],
    "class_counts": {"labeled": [10, 10], "validation": [5, 5], "test": [50, 50]},
    "machines": [{"from_step": 0, "threads": 2}],
}
MOVED = {"lam_quantiles": [0.0, 0.2, 0.5, 1.0, 1.5, 1.8, 2.0], "coverage": 0.9}


def metrics(folder, rates, kind="train"):
    """One train line every ten steps."""
    lines = ({"kind": kind, "step": 10 * k, "mask_rate": r} for k, r in enumerate(rates, 1))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def warned(tmp_path, options=None, configuration=None, summary=None, rates=(0.5,) * 10):
    metrics(tmp_path, rates)
    config = make_config(**{"dataset": "cifar10", "out": str(tmp_path)} | (options or {}))
    said = warnings_of(config, GOOD | (configuration or {}), MOVED | (summary or {}))
    assert said[: len(foreseen(config, GOOD | (configuration or {})))] == foreseen(
        config, GOOD | (configuration or {})
    )
    return said


def test_a_run_to_be_trusted_has_no_warning(tmp_path):
    assert warned(tmp_path) == warned(tmp_path, {"steps": 100}) == []


LAMBDA = "fewer than 50% of λ were updated: 49.9%"
HARDLY = "Λ hardly moved: 90 % of λ lie from {} to {}, they began at {}"
MASK = (
    "no unlabeled example passed the mask after the warm-up: the rate is 0 in {} of the log lines "
)
MASK += "from step {} on, lower --threshold"
FEW = "fewer than 20 evaluations behind “median of the last 20”: {}, lower --eval_every"


@pytest.mark.parametrize(
    ("options", "summary", "rates", "expected"),
    [
        ({}, {}, [0.0] * 10, [MASK.format("100%", 0)]),
        ({}, {}, [0.0] * 5 + [0.1] * 5, []),  # one that begins late
        ({}, {}, [0.0] * 7 + [1e-9] * 3, [MASK.format("70%", 0)]),
        # Within the warm-up it says nothing; a rate of 0 after it does.
        ({"lambda_warmup_steps": 80}, {}, [0.0] * 8 + [0.2] * 2, []),
        ({"lambda_warmup_steps": 80}, {}, [0.2] * 8 + [0.0] * 2, [MASK.format("100%", 80)]),
        ({"lambda_warmup_steps": 200}, {}, [0.0] * 10, []),  # no line after it
        ({"algorithm": "supervised"}, {}, [0.0] * 10, []),
        ({}, {"coverage": 0.499}, [1.0], [LAMBDA]),
        ({"weighting": "fixed"}, {"coverage": 0.0, "lam_quantiles": [1.0] * 7}, [1.0], []),
        ({"weighting": "zero"}, {"coverage": 0.0, "lam_quantiles": [0.0] * 7}, [1.0], []),
        ({}, {"lam_quantiles": [0, 0.96, 1, 1, 1, 1.04, 9]}, [1.0],
         [HARDLY.format("0.960", "1.040", 1)]),
        ({}, {"lam_quantiles": [0, 0.94, 1, 1, 1, 1.04, 9]}, [1.0], []),
        ({"lambda_init": 5.0}, {"lam_quantiles": [0, 4.8, 5, 5, 5, 5.2, 9]}, [1.0],
         [HARDLY.format("4.800", "5.200", 5)]),
        ({"steps": 100, "eval_every": 10}, {}, [1.0], [FEW.format(10)]),
        ({"steps": 105, "eval_every": 100}, {}, [1.0], [FEW.format(2)]),
        ({"steps": 200, "eval_every": 10}, {}, [1.0], []),
    ],
)  # fmt: skip
def test_what_training_shows(tmp_path, options, summary, rates, expected):
    assert warned(tmp_path, options, summary=summary, rates=rates) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"ema_decay": 0.999, "steps": 2301}, ["--ema_decay=0.999"]),
        ({"ema_decay": 0.999, "steps": 2302}, []),  # 0.999^2302 = 0.0999
        ({"ema_decay": 0.999, "batch_norm_decay": 0.999, "steps": 500},
         ["--ema_decay=0.999", "--batch_norm_decay=0.999"]),
        ({"ema_decay": 0.0, "steps": 1, "inner_steps": 1, "weighting": "fixed"}, []),
        ({"dataset": "moons", "ema_decay": 0.9999}, ["--ema_decay=0.9999"]),  # no BatchNorm
    ],
)  # fmt: skip
def test_averages_that_hold_their_beginning(tmp_path, options, expected):
    """As `ExponentialMovingAverage` and Keras do it: from the initial value, uncorrected."""
    said = [line for line in warned(tmp_path, options) if "initial values" in line]
    config = make_config(**{"dataset": "cifar10"} | options)
    held = [config.ema_decay**config.steps] * bool(config.ema_decay)
    assert [line.split(" with ")[1] for line in said] == expected, held
    if said:
        assert f": {held[0]:.0%} after {config.steps} steps" in said[0]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([50, 50], []),
        ([49, 50], ["fewer than 100 test examples: 99, each of which is 1.0 points"]),
        ([96, 4], ["fewer than 5 test examples of a class: dog (4)"]),
        ([0, 12], [
            "fewer than 100 test examples: 12, each of which is 8.3 points",
            "fewer than 5 test examples of a class: cat (0)",
        ]),
    ],
)  # fmt: skip
def test_small_test_sets(tmp_path, counts, expected):
    counts = GOOD["class_counts"] | {"test": counts}
    assert warned(tmp_path, configuration={"class_counts": counts}) == expected


def test_a_run_of_two_machines(tmp_path):
    write_run(tmp_path, "run", config={"machines": [{"from_step": 0, "threads": 999}]})
    machines = continued(tmp_path / "run", 30, lambda _: None)
    (said,) = warned(tmp_path, configuration={"machines": machines})
    assert said.startswith("made on several machines") and "threads 999, " in said
    assert "step 30" in said


CPU, GPU = {"threads": 2, "cpu": "A"}, {"threads": 2, "cpu": "A", "gpu": "G"}
CHANGES = [
    ([(0, CPU), (9, CPU | {"cpu": "B"})], "cpu A, B from step 9"),
    ([(0, CPU), (9, GPU)], "gpu none, G from step 9"),
    ([(0, GPU), (9, GPU | {"gpu": "H"}), (20, GPU | {"gpu": "H", "cpu": "B"})],
     "cpu A, B from step 20; gpu G, H from step 9"),
    ([(0, {}), (9, CPU)], "threads unknown, 2 from step 9; cpu unknown, A from step 9"),
]  # fmt: skip


@pytest.mark.parametrize(("machines", "what"), CHANGES)
def test_a_run_of_two_machines_says_in_what_they_differ(tmp_path, machines, what):
    machines = [{"from_step": step} | one for step, one in machines]
    (said,) = warned(tmp_path, configuration={"machines": machines})
    assert said.endswith(f"not bit for bit the unbroken run: {what}")


def test_the_header_names_steps_sets_classes_and_what_to_doubt(capsys):
    config = make_config(dataset="cifar10", out="x", steps=200, eval_every=20)
    sets = {"labeled": 20, "unlabeled": 400, "validation": 10, "test": 100}
    splits = SimpleNamespace(
        name="pets", source="made up", split_hash="0123456789abcdef", notes=("a note",),
        **{name: SimpleNamespace(labels=[0] * n) for name, n in sets.items()},
    )  # fmt: skip
    trainer = SimpleNamespace(store=SimpleNamespace(learns=False))
    run = SimpleNamespace(config=config, splits=splits, trainer=trainer)
    header.announce(run, GOOD)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "x: FixMatch + Λ on pets, 20 labeled, 400 unlabeled, 10 validation, 100 test; 200 steps",
        "  2 classes (labeled/validation/test): cat (10/5/50), dog (10/5/50)",
        "  data: made up; split 0123456789ab",
        "  a note",
    ]
    assert lines[-1] == f"  WARNING: {FEW.format(10)}"
    names = [f"c{k}" for k in range(100)]
    many = {"class_names": names, "class_counts": dict.fromkeys(sets, [7] * 100)}
    header.announce(run, GOOD | many)
    assert capsys.readouterr().out.splitlines()[1].endswith("c19 (7/7/7/7), and 80 more")


def test_the_time_is_estimated_once_and_not_from_the_first_block(tmp_path, capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(run_log.time, "monotonic", lambda: now[0])
    with run_log.RunLog(tmp_path, 1000) as log:
        for step, seconds in ((1, 50.0), (2, 51.5), (5, 53.0), (7, 54.0), (1000, 550.0)):
            now[0] = seconds
            log.spent("theta" if step == 1 else "lambda", 1.0)  # the first of a kind compiles
            log.progress(step, "mine")
    said = [line for line in capsys.readouterr().out.splitlines() if "estimated" in line]
    expected = "mine: estimated time 8:17 for the 995 steps that are left, at 0.5 s a step in the "
    assert said == [expected + "last 4"]
    with run_log.RunLog(tmp_path / "..", 20) as log:  # too short for a second of training
        for step in (4, 8, 12, 20):
            now[0] += 0.001
            log.progress(step, "tiny")
    assert capsys.readouterr().out.count("tiny: estimated time 0:00 for the 12 steps") == 1


def test_the_time_is_not_estimated_from_steps_before_the_weights_learn(
    tmp_path, capsys, monkeypatch
):
    """0.1 s a theta-step, 1 s a Lambda-step after each 10 from step 100 on; 9 s to compile."""
    now = [0.0]
    monkeypatch.setattr(run_log.time, "monotonic", lambda: now[0])
    with run_log.RunLog(tmp_path, 1000, lambda_until=1000) as log:
        for step in range(10, 1001, 10):
            now[0] += 1.0
            log.spent("theta", 1.0)
            if step >= 100:
                now[0] += (spent := 9.0 if step == 100 else 1.0)
                log.spent("lambda", spent)
            log.progress(step, "mine")
    lines = capsys.readouterr().out.splitlines()
    said = [line for line in lines if "estimated" in line]
    assert said == [
        "mine: estimated time 2:58 for the 890 steps that are left, at 0.2 s a step in the last 10"
    ]
    before = [line for line in lines[: lines.index(said[0])] if "ETA" in line]
    assert before[0] == "mine  10/1000  ETA --:--"
    assert len(before) > 2 and all("without Λ-steps" in line for line in before[1:-1])
    assert "without" not in lines[-1]


def test_the_report_opens_with_the_warnings_and_who_has_them(tmp_path):
    learned = {"algorithm": "fixmatch", "weighting": "per_example"}
    for seed, warnings in (
        (1, [FEW.format(3), LAMBDA]),
        (2, [FEW.format(3)]),
        (3, [FEW.format(4)]),
    ):
        summary = {"warnings": warnings}
        write_run(tmp_path / "runs", f"l{seed}", seed=seed, summary=summary, **learned)
    write_run(tmp_path / "runs", "older")
    report = write_report(tmp_path / "runs", tmp_path)
    page = (tmp_path / "report.md").read_text()
    before, _, found = page.replace("\\", "").partition(f"\n{WARNINGS}\n")
    assert "##" not in before and "**" not in before
    what, cases = found.strip().splitlines()[0].split(":** ")
    assert what == "- **fewer than 20 evaluations behind “median of the last 20”"
    lower = "lower --eval_every"
    on = "FixMatch + Λ on moons, 10 labels"
    assert cases == f"{on} (seeds 1 and 2: 3, {lower}, seed 3: 4, {lower})"
    assert f"{on} (seed 1: 49.9%)" in found
    assert "Report: " in console_text(report, tmp_path)
    write_run(tmp_path / "clean", "one")
    write_report(tmp_path / "clean", tmp_path / "page")
    assert WARNINGS not in (tmp_path / "page" / "report.md").read_text()


@pytest.mark.parametrize("mode", ["per_example", "single"])
@pytest.mark.parametrize("name", ["madam", "adam", "sgd"])
def test_the_influence_that_decides_between_equal_weights(mode, name):
    """Two steps with influence 1 on id 0, one of them with 2 on id 1 (`single`: their means)."""
    config = make_config(dataset="cifar10", lambda_optimizer=name, weighting=mode)
    store = weight_store(settings_of(config), 3)
    for ids, g in (([0, 1], [1.0, 2.0]), ([0], [1.0])):
        store.update(np.array(ids, np.int64), np.float32(g))
    found = store.block(0, 3)["influence"]
    expected = {"per_example": [0.19, 0.2 * (1 if name == "madam" else 0.9), 0], "single": 0.235}
    if name == "sgd":
        np.testing.assert_array_equal(found, [1.0, 2.0, np.nan])
    else:
        np.testing.assert_allclose(found, np.broadcast_to(expected[mode], [3]), rtol=1e-6)
