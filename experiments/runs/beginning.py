"""Whose is a run folder? Nothing in it is written over before that is known. Without TensorFlow."""

from __future__ import annotations

from pathlib import Path

from experiments.options.config import RETIRED, Config, options_as_json, renewed
from experiments.options.effects import is_free
from experiments.runs.record import read_config
from experiments.runs.run_files import FILES, RunError, is_metrics
from ssl_weighting.checkpointing import Checkpoints


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


def refuse_foreign(config: Config) -> None:
    """Make sure that a run that starts anew writes over nothing but an earlier beginning of itself.

    That is: config.json with the same options, what it logged, and no summary.json. Where there is
    a checkpoint, it is compared with the run instead.

    Raises:
        ValueError: other files of the names that a run writes lie in `config.out`; names them.
    """
    out = Path(config.out)
    there = sorted(FILES & {path.name for path in out.iterdir()}) if out.is_dir() else []
    if not there or Checkpoints(out / "checkpoints", {}).paths():
        return
    if why := _foreign(config, there):
        raise ValueError(
            f"--out must name a new folder, or one in which this run began. Received: {out}, which "
            f"holds {', '.join(there)} and no checkpoint; {why}. Nothing was changed. Give another "
            "--out, or move that folder away."
        )


def _foreign(config, there):
    """Return why these files are not the beginning of this run, "" if they are."""
    if "summary.json" in there:
        return "with summary.json a run is finished"
    try:
        changed = changed_options(config)
    except RunError as error:
        return str(error)
    if changed:
        return f"the run had other options: {'; '.join(changed)}"
    metrics = Path(config.out) / "metrics.jsonl"
    return "" if is_metrics(metrics) else "no run wrote that metrics.jsonl"


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
