"""--recipe=own on a command line: what it resolves to, and the same by flags. No TensorFlow."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.options.backbone import NO_BACKBONE
from experiments.options.config import Config, config_from_json
from experiments.options.data import OWN, PAPER
from experiments.options.effects import is_free, without_effect
from experiments.options.entry import written
from experiments.options.kinds import OWN as OWN_KINDS
from experiments.options.kinds import kind_of
from experiments.options.own_plan import plan
from experiments.options.presets import make_config


def recipe_of(options: Mapping[str, Any]) -> str:
    """Return the recipe of a command line: what it says, else by the kind of its data."""
    if options.get("smoke"):
        return PAPER
    of_own = options["dataset"].partition(":")[0] in OWN_KINDS
    return options.get("recipe") or (OWN if of_own else PAPER)


def own_config(options: Mapping[str, Any]) -> Config:
    """Return the configuration of a command line of --recipe=own, and print what was chosen.

    A run in --out goes on where the command chooses what it chose; a run of before there were
    recipes, with the paper's options.

    Args:
        options: those that are given, which win.

    Raises:
        OSError, ValueError: the data cannot be read, or does not allow it, or --out holds another
            run; says what to do.
    """
    begun = _begun(options["out"])
    if begun and "recipe" not in begun | options:
        return make_config(**options)
    made = plan(options)
    config = make_config(**made.options | options | {"recipe": OWN})
    if begun:
        _refuse_other(config, config_from_json(begun))
    minutes = (made.extraction + made.training) / 60
    text = f"--recipe=own: at most {minutes:.1f} of {config.minutes:g} minutes on this device"
    if made.passes:
        text += f", {made.extraction / 60:.1f} of them for {made.passes} passes through the "
        text += "backbone, unless its features are in the cache"
    print(f"{text}. The same, by flags:\n  {command(config, options)}", flush=True)
    if made.note:
        print(made.note, flush=True)
    return config


def _begun(out) -> dict[str, Any] | None:
    """Return the options of the run in a folder; None: none that counts, as is told later."""
    try:
        found = json.loads((Path(out) / "config.json").read_text())["config"]
        config_from_json(found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return found


def _refuse_other(config, begun):
    """Refuse to go on with a run that the command line does not ask for, or to forget a part of it.

    Flags that were given then and are left out now must not go on unsaid.
    """
    then, now = vars(begun), vars(config)
    changed = [
        f"--{name}={written(then[name]) or 'none'} there, {written(now[name]) or 'none'} now"
        for name in now
        if not is_free(name) and then[name] != now[name]
    ]
    if changed:
        given = {"dataset": begun.dataset, "out": config.out}
        raise ValueError(
            "--out must name a new folder, or that of a run with the options that this command "
            f"line gives or --recipe=own chooses for it. Received: {config.out}, whose run has "
            f"others: {'; '.join(changed)}. Give another --out, or go on with that run by\n  "
            f"{command(begun, given)}"
        )


def command(config: Config, options: Mapping[str, Any]) -> str:
    """Return the command that makes the same run without the recipe.

    Args:
        config: of the run.
        options: that were given.
    """
    given = {name: one for name, one in options.items() if name not in ("recipe", "minutes")}
    plain = vars(make_config(**given | {"backbone": config.backbone}))
    idle = {*without_effect(config), "recipe", "minutes"}
    chosen = {n: v for n, v in vars(config).items() if n not in idle and plain[n] != v}
    chosen |= {} if config.backbone == NO_BACKBONE else {"backbone": config.backbone}
    shown = [f"--{name}={written(value)}" for name, value in (given | chosen).items()]
    program = f"python -m experiments.{kind_of(config.dataset).program}"
    return " ".join([program, f"--recipe={PAPER}", *map(shlex.quote, shown)])
