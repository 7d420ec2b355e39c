"""Whether an option matters: to a run, to its command line, to the runs it is set beside."""

from __future__ import annotations

import re
from collections.abc import Iterable

from experiments.options.config import ENTRIES, Config
from experiments.options.entry import RESULT, written


def effect_of(name: str) -> str:
    """Return what an option does, one of `entry.EFFECTS`; unknown ones are of older runs."""
    return ENTRIES[name].effect if name in ENTRIES else RESULT


def is_free(name: str) -> bool:
    """Return whether a run may go on from its checkpoint with another value of an option."""
    return name in ENTRIES and ENTRIES[name].free


def without_effect(config: Config) -> list[str]:
    """Return the options that a command line for this run must leave out."""
    return sorted(name for name, entry in ENTRIES.items() if _is_idle(entry, config))


def refuse_without_effect(config: Config, given: Iterable[str]) -> None:
    """Make sure that every option of the command line does something.

    Presets and recipes may set others all the same.

    Args:
        config: the run's options.
        given: names of those that stand on the command line.

    Raises:
        ValueError: names the first that does not, and what it needs.
    """
    names = set(given)
    for name, entry in ENTRIES.items():
        if name in names and _is_idle(entry, config):
            raise ValueError(
                f"--{name} would do nothing here: it needs {entry.needs.text}. Received: "
                f"{_told(entry.needs.text, config)}. Leave it out"
            )


def _told(need: str, config: Config) -> str:
    """Return the options that a need speaks of, with the values that they have."""
    named = [name for name in dict.fromkeys(re.findall(r"--(\w+)", need)) if name in ENTRIES]
    if named:
        return ", ".join(f"--{name}={written(getattr(config, name))}" for name in named)
    return (
        f"--dataset={config.dataset}, --model={config.model}, --algorithm={config.algorithm}, "
        f"--weighting={config.weighting}"
    )


def _is_idle(entry, config):
    return entry.needs is not None and not entry.needs.holds(config)
