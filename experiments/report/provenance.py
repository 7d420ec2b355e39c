"""How the runs were made: deviations, versions, commands, and what was found but not used."""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.options.effects import effect_of
from experiments.options.entry import CONTENT
from experiments.options.kinds import OWN
from experiments.pages.document import (
    Block,
    Bullet,
    Bullets,
    Code,
    Details,
    Heading,
    Paragraph,
    Table,
)
from experiments.pages.wording import joined, plural, unique
from experiments.report.collect import Collection
from experiments.report.grouping import Setting
from experiments.runs.machine import DECISIVE
from experiments.runs.record import RunRecord

WARNINGS = "Before the numbers, what the runs warn of:"


def warning_blocks(settings: Sequence[Setting]) -> list[Block]:
    """Return what to doubt, by warning: methods, and what each said with its seeds."""
    said: dict[str, dict[str, dict[str, list[str]]]] = {}
    for setting in settings:
        for method in setting.methods:
            for run in method.runs:
                for text in run.summary.warnings or ():
                    what, _, numbers = text.partition(": ")
                    where = said.setdefault(what, {}).setdefault(
                        f"{method.label} on {setting.title}", {}
                    )
                    where.setdefault(numbers, []).append(str(run.seed))
    bullets = [Bullet(f"{what}:", _cases(cases)) for what, cases in said.items()]
    return [Paragraph(WARNINGS), Bullets(tuple(bullets))] if bullets else []


def _cases(cases: dict[str, dict[str, list[str]]]) -> str:
    return "; ".join(
        f"{name} ({', '.join(_by_seeds(numbers, seeds) for numbers, seeds in found.items())})"
        for name, found in cases.items()
    )


def _by_seeds(numbers: str, seeds: list[str]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {joined(seeds)}: {numbers}"


def deviation_blocks(settings: Sequence[Setting]) -> list[Block]:
    """Return every departure from the paper that some run used, with its methods."""
    users: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for setting in settings:
        for method in setting.methods:
            for run in method.runs:
                for text in run.config.get("deviations") or run.summary.deviations or ():
                    users[text.removeprefix("DEVIATION:").strip()][setting.title].append(
                        method.label
                    )
    heading = Heading("Deviations from the paper")
    if not users:
        return [heading, Paragraph("No run recorded a deviation.")]
    rows = tuple((text, _users_text(where)) for text, where in users.items())
    return [heading, Table(("Deviation", "In"), rows, text_columns=(0, 1))]


def _users_text(where: dict[str, list[str]]) -> str:
    return ";\n".join(f"{title}: {', '.join(unique(labels))}" for title, labels in where.items())


def version_blocks(runs: Sequence[RunRecord]) -> list[Block]:
    """Return a table of versions and machines; several values in a cell: the runs differ."""
    values: dict[str, list[str]] = defaultdict(list)
    for run in runs:
        machines = [{k: m[k] for k in DECISIVE if k in m} for m in run.config.get("machines") or ()]
        for part in (run.config.get("versions") or {}, *machines):
            for name, version in part.items():
                values[str(name)].append(str(version))
    heading = Heading("Versions and machines")
    if not values:
        return [heading, Paragraph("No run recorded its versions.")]
    rows = tuple((name, " / ".join(unique(values[name]))) for name in sorted(values))
    return [heading, Table(("What", "Which"), rows, text_columns=(0, 1))]


def command_blocks(settings: Sequence[Setting]) -> list[Block]:
    """Return the command that made each run, rebuilt from the flag values it saved."""
    blocks: list[Block] = [
        Heading("Commands"),
        Paragraph(
            "Every value with an effect is spelled out, so that later defaults change nothing. Of "
            "folders elsewhere on the machine only the last part is named."
        ),
    ]
    for setting in settings:
        inner: list[Block] = []
        for run in setting.runs:
            inner += [Paragraph(run.name), Code(command(run))]
        count = plural(len(setting.runs), "command")
        blocks.append(Details(f"{setting.title}: {count}", tuple(inner)))
    return blocks


def command(run: RunRecord) -> str:
    """Return "python -m experiments.train_images --dataset=digits --seed=1" and the like.

    Reports are published: no folder of the machine is named, and results are in results/runs.
    """
    program = run.config["program"]
    module = program if "." in program else f"experiments.{program}"
    idle = run.config.get("without_effect") or ()  # the programs refuse them
    flags = [
        f"--{name}={_public(name, _flag_value(value), run)}"
        for name, value in run.config["config"].items()
        if value not in (None, "") and name not in idle
    ]
    return shlex.join(["python", "-m", module, *flags])


def _public(name: str, value: str, run: RunRecord) -> str:
    """Return the flag's value without the machine's folders."""
    if name == "out":
        return f"results/runs/{run.name}"
    if effect_of(name) == CONTENT:
        return _without_folders(value)
    kind, colon, path = value.partition(":")
    if name == "dataset" and kind in OWN:
        return kind + colon + _without_folders(path)
    return value


def _without_folders(path: str) -> str:
    """Return the last part of a path that leads elsewhere; one inside the clone stays."""
    parts = Path(path).parts
    elsewhere = Path(path).is_absolute() or ".." in parts or path.startswith("~")
    return Path(path).name if elsewhere else path


def _flag_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(_flag_value(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value)


def left_out_blocks(collection: Collection, doubled: Sequence[str]) -> list[Block]:
    """Name what was found but is not in the tables, and optional files that were unreadable."""
    blocks: list[Block] = [Heading("Runs left out")]
    groups = (
        ("Not finished", [Bullet(f"{name}:", why) for name, why in collection.unfinished]),
        ("Unreadable", [Bullet(f"{name}:", why) for name, why in collection.corrupt]),
        ("Doubled", [Bullet("", text) for text in doubled]),
        (
            "Counted, but with an unreadable extra file",
            [Bullet(f"{run.name}:", why) for run in collection.finished for why in run.remarks],
        ),
    )
    for title, bullets in groups:
        if bullets:
            blocks += [Heading(title, 3), Bullets(tuple(bullets))]
    if len(blocks) == 1:
        blocks.append(Paragraph("None: every run that was found is finished and readable."))
    return blocks
