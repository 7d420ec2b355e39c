"""What a run says before its first step: what, on which data, how it departs, what to doubt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from experiments.assemble.run import Run
from experiments.options.deviations import deviations
from experiments.options.kinds import POINTS, kind_of
from experiments.runs.results import method_name
from experiments.runs.scorer_files import reason_for_none
from experiments.runs.warnings import foreseen
from ssl_weighting.lambda_step_settings import LAST_LAYER

SHOWN = 20  # classes with their counts


def announce(run: Run, configuration: Mapping[str, Any]) -> None:
    """Print it.

    Args:
        run: built and, where it goes on, restored.
        configuration: what its config.json holds.
    """
    c, s = run.config, run.splits
    sizes = f"{len(s.labeled.labels)} labeled, {len(s.unlabeled.labels)} unlabeled"
    sizes += f", {len(s.validation.labels)} validation, {len(s.test.labels)} test"
    print(f"{c.out}: {method_name(c)} on {s.name}, {sizes}; {_steps(c)}", flush=True)
    print(f"  {_classes(configuration)}", flush=True)
    print(f"  data: {_source(c, s.source)}; split {s.split_hash[:12]}", flush=True)
    for line in (*s.notes, *deviations(c)):
        print(f"  {line}", flush=True)
    if c.learns and kind_of(c.dataset) is not POINTS and (why := reason_for_none(c)):
        print(f"  leaves nothing for `score`: {why}", flush=True)
    warn(foreseen(c, configuration))
    if run.trainer.store.learns and c.influence_params != LAST_LAYER:
        print(run.trainer.parameters.plan(first_input(run)), flush=True)


def first_input(run: Run):
    """Return the first labeled example as the model gets it; of a cross-fit, the first model."""
    one = run.members[0] if run.members else run
    return one.evaluator.preprocess(run.splits.labeled.inputs[:1])


def warn(warnings: list[str]) -> None:
    """Print warnings, a line each."""
    for line in warnings:
        print(f"  WARNING: {line}", flush=True)


def _source(config, text):
    """Return where the data is from; of a BERT its name, layers and width in place of its shape."""
    short = re.sub(r"BertShape\(.*?\bwidth=(\d+).*?\)", r"width \1", text)
    return (
        short
        if short == text
        else short.replace("features by", f"features by {config.backbone}:", 1)
    )


def _steps(config):
    models = f" of each of {config.folds} models" if config.cross_fits else ""
    again = f", then {config.steps} of a new one on all labels" if config.learning_steps else ""
    return f"{config.steps} steps{models}{again}"


def _classes(configuration):
    names, counts = configuration["class_names"], configuration["class_counts"]
    each = ["/".join(map(str, numbers)) for numbers in zip(*counts.values(), strict=True)]
    shown = [f"{name} ({numbers})" for name, numbers in zip(names, each, strict=True)][:SHOWN]
    shown += [f"and {len(names) - SHOWN} more"] * (len(names) > SHOWN)
    return f"{len(names)} classes ({'/'.join(counts)}): {', '.join(shown)}"
