"""The only place that knows flags: one flag per field of `Config`, and back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping

from absl import flags

from experiments.options.config import ENTRIES, Config
from experiments.options.data import OWN
from experiments.options.effects import refuse_without_effect, without_effect
from experiments.options.kinds import Kind, check_kind
from experiments.options.own import own_config, recipe_of
from experiments.options.presets import following_steps, make_config

_DEFINE = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


def define(
    values: flags.FlagValues = flags.FLAGS,
    shown: Mapping | None = None,
    names: Iterable[str] = tuple(ENTRIES),
) -> None:
    """Define --NAME for every option, with its default before presets and recipes.

    They count as flags of the program that runs, so that its --helpshort lists them.

    Args:
        values: where to.
        shown: defaults that --helpshort shows in place of those.
        names: the options, for programs that know only some.
    """
    defaults = vars(Config())
    for name in names:
        entry, default = ENTRIES[name], defaults[name]
        text = f"[{entry.group}] {entry.help}"
        text += f": {', '.join(entry.choices)}" if entry.choices else ""
        define_one, default = _DEFINE[type(default)], (shown or {}).get(name, default)
        define_one(name, default, text, flag_values=values, module_name=sys.argv[0])


def given(values: flags.FlagValues | None = None, names: Iterable[str] = tuple(ENTRIES)) -> dict:
    """Return the options that stand on the command line; presets and recipes fill the others."""
    values = flags.FLAGS if values is None else values
    return {name: values[name].value for name in names if values[name].present}


def config_from_flags(
    argv: list[str],
    smoke: Mapping[str, Callable[[], str]] | None = None,
    kind: Kind | None = None,
) -> Config:
    """Return the validated configuration of this command line.

    Args:
        argv: what absl left of it: the program, and nothing else.
        smoke: options -> what makes their values, for --smoke where they are not given.
        kind: of the data that the program trains on; None: whoever calls this checks it.

    Raises:
        ValueError: an option was refused or is missing. (absl's UsageError would print all of
            --helpshort, and the message far below.)
    """
    if len(argv) > 1:
        raise ValueError(f"Options must be --NAME=VALUE. Received: {' '.join(argv[1:])}")
    options = given()
    if options.get("smoke"):
        options |= {k: make() for k, make in (smoke or {}).items() if not options.get(k)}
    for name in ("dataset", "out"):
        if not options.get(name):
            raise ValueError(f"--{name} must be given; --helpshort lists all. Received: nothing")
    if recipe_of(options) == OWN:
        if kind is not None:
            check_kind(options["dataset"], kind)
        config = own_config(options)
        refuse_without_effect(config, options)
        return config
    config = make_config(**options)
    refuse_without_effect(config, options)
    idle = without_effect(config)
    followed = {n: one for n, one in following_steps(**options).items() if n not in idle}
    if followed:
        shown = " ".join(f"--{name}={value}" for name, value in followed.items())
        print(f"--steps={config.steps} makes it {shown}", flush=True)
    return config
