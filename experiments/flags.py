"""The only place that knows flags: one flag per field of `Config`, and back."""

from __future__ import annotations

import dataclasses
import sys

from absl import app, flags

from experiments.config import Config
from experiments.presets import make_config

_DEFINE = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


def define(flag_values=flags.FLAGS) -> None:
    """Define --NAME for every option, with its default before presets and recipes."""
    for field in dataclasses.fields(Config):
        known = field.metadata["choices"]
        text = f"[{field.metadata['group']}] {field.metadata['help']}"
        if known:
            text += f": {', '.join(known)}"
        define_one = _DEFINE[type(field.default)]
        define_one(
            field.name, field.default, text, flag_values=flag_values, module_name=sys.argv[0]
        )


def given(flag_values=flags.FLAGS) -> dict:
    """Return the options that stand on the command line; presets and recipes fill the others."""
    names = (field.name for field in dataclasses.fields(Config))
    return {name: flag_values[name].value for name in names if flag_values[name].present}


def config_from_flags(**fixed) -> Config:
    """Return the validated configuration of this command line.

    Raises:
        app.UsageError: an option was refused; prints the message without a traceback.
    """
    try:
        return make_config(**fixed | given())
    except ValueError as error:
        raise app.UsageError(str(error)) from error
