"""The way from a program to a run: options are checked before TensorFlow is loaded."""

from __future__ import annotations

from experiments.assemble.cluster import asked_cluster
from experiments.assemble.excluded import names_in
from experiments.options.config import Config

TERMINATED = 143  # exit code of a program that SIGTERM ended


def execute(config: Config, program: str, **known) -> dict | None:
    """Run `config` to its end as `execute.execute` does, which takes seconds to import.

    Args:
        config, program, **known: as there.

    Raises:
        ValueError, OSError, FloatingPointError: as there.
    """
    if config.exclude:
        names_in(config.exclude)  # refused now if it must be
    if config.workers:
        asked_cluster()
    from experiments.runs import execute as loop

    return loop.execute(config, program, **known)
