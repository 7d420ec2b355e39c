"""The way from a program to a run: options are checked before TensorFlow is loaded."""

from __future__ import annotations

from pathlib import Path

from experiments.options.config import RETIRED, Config, options_as_json, renewed
from experiments.options.effects import is_free
from experiments.runs.record import read_config

TERMINATED = 143  # exit code of a program that SIGTERM ended


def execute(config: Config, program: str, **known) -> dict | None:
    """Run `config` to its end as `execute.execute` does, which takes seconds to import.

    Args:
        config, program, **known: as there.

    Raises:
        ValueError, OSError, FloatingPointError: as there.
    """
    from experiments.runs import execute as loop

    return loop.execute(config, program, **known)


def changed_options(config: Config) -> list[str]:
    """Return how the run that lies in `config.out` differs from `config`, option by option.

    An option that did not exist when it ran had its default; one that is retired now is at the
    value at which it did what is done today.
    """
    saved = options_as_json(Config()) | RETIRED | read_config(Path(config.out))["config"]
    now = RETIRED | renewed(options_as_json(config))
    return [
        f"{name}: {saved[name]!r} there, {value!r} now"
        for name, value in now.items()
        if not is_free(name) and saved[name] != value
    ]


def refuse_if_changed(config: Config) -> None:
    """Make sure that a finished run is skipped only if it is the run that was asked for.

    Raises:
        ValueError: it had other options; names each.
    """
    changed = changed_options(config)
    if changed:
        raise ValueError(
            f"{config.out} holds a finished run with other options: {'; '.join(changed)}. "
            "Delete that folder or give another --out."
        )
