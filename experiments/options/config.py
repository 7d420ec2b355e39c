"""The one frozen configuration of a training run, made up of its options by subject."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments.options.algorithm import AlgorithmOptions
from experiments.options.combinations import check_combinations
from experiments.options.data import DataOptions
from experiments.options.entry import entries
from experiments.options.features import FeatureOptions
from experiments.options.influence import InfluenceOptions
from experiments.options.lam import LambdaOptions
from experiments.options.model import ModelOptions
from experiments.options.run import RunOptions
from experiments.options.text import TextOptions
from ssl_weighting.data.names import printable
from ssl_weighting.training.derived import Derived

# Making batches anew with other rates takes the time of compiling them, one or two seconds.
PUBLISH_EVERY = 256
# The supervised base trains on none; its table of examples has a loss on strong views all the same.
_OWN_STRONG_VIEWS = {
    "fixmatch": "randaugment",
    "uda": "uda_randaugment",
    "remixmatch": "ctaugment",
    "supervised": "randaugment",
}


@dataclasses.dataclass(frozen=True)
class Config(
    RunOptions, InfluenceOptions, LambdaOptions, AlgorithmOptions, ModelOptions, FeatureOptions,
    TextOptions, DataOptions, Derived,
):  # fmt: skip
    """Every option of a training run, validated; saved as config.json beside its results."""

    def __post_init__(self):
        """Check every option, alone and together.

        Raises:
            ValueError: names the option, what it must be and what was received.
        """
        for name, entry in ENTRIES.items():
            entry.check(name, getattr(self, name))
        check_combinations(self)

    def size_of_v(self, raw) -> int | None:
        """|V| of a set; None: all of its own `validation`, where it has one."""
        own = raw.validation is not None and self.validation != "cross_fit"
        return None if own and not self.val_size else self.val_size

    @property
    def cross_fits(self) -> bool:
        """Whether several models validate each other; not where a refit has nothing to learn."""
        return self.validation == "cross_fit" and (self.learns or not self.refit)

    @property
    def labels_all(self) -> bool:
        """Whether the run's model learns from V's labels."""
        return self.validation_as_labels or (self.refit and self.validation == "held_out")

    @property
    def learning_steps(self) -> int:
        """Theta-steps before a refit, which takes as many; without learned weights none."""
        return self.steps if self.refit and self.learns else 0

    @property
    def total_steps(self) -> int:
        """Theta-steps of the run from beginning to end; of models side by side those of one."""
        return self.learning_steps + self.steps

    def model_steps(self, step: int) -> int:
        """Return how many theta-steps of single models a run has taken at its `step`."""
        together = step if not self.refit else min(step, self.learning_steps)
        return (self.folds if self.cross_fits else 1) * together + step - together

    @property
    def strong_views(self) -> str:
        """The kind of strong views, `auto` resolved."""
        own = _OWN_STRONG_VIEWS.get(self.algorithm, "weak")
        return own if self.strong_augment == "auto" else self.strong_augment

    @property
    def publish_every(self) -> int:
        """Steps after which strong views see new rates of CTAugment."""
        return max(1, min(PUBLISH_EVERY, self.steps // 20))

    @property
    def learns_rates(self) -> bool:
        """Whether CTAugment's rates learn."""
        return self.strong_views == "ctaugment" and self.cta_update and self.model == "wide_resnet"


ENTRIES = entries(Config)
# Options of earlier versions, with the value at which a run was what it is today: runs that carry
# them go on, and are grouped with later ones.
RETIRED = {
    "noise": -1.0, "balanced": False, "mlp_reading": "two_hidden", "cta_publish_every": 0,
    "lambda_min": 0.0,
}  # fmt: skip


# Values of earlier versions that asked for what another value asks for today: an epsilon that is
# too small to count, which 1e-18 was not for the smallest influences.
RENEWED = {("madam_epsilon", 1e-18): 1e-60}


def renewed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with the values that ask today for what they asked for then."""
    return {k: RENEWED.get((k, v), v) if isinstance(v, float) else v for k, v in options.items()}


def options_as_json(config: Config) -> dict[str, Any]:
    """Return the options as strict JSON values: infinity as a string, names as `printable`."""
    options = {k: "inf" if v == float("inf") else v for k, v in vars(config).items()}
    return {k: printable(v) if isinstance(v, str) else v for k, v in options.items()}


def without_retired(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options, `renewed`, but those that are retired and were at what is done today."""
    return {k: v for k, v in renewed(options).items() if k not in RETIRED or RETIRED[k] != v}


def recorded_option(options: Mapping[str, Any], name: str) -> Any:
    """Return one option of a config.json, which somebody may have edited.

    Raises:
        ValueError: it is missing, has another type, or a value that it cannot have.
    """
    if name not in options:
        raise ValueError(f"config.json must have the option `{name}`. Received: none")
    value, kind = options[name], type(getattr(Config(), name))
    if type(value) is not kind:
        raise ValueError(
            f"config.json must have the option `{name}` as {kind.__name__}. Received: {value!r}"
        )
    ENTRIES[name].check(name, value)
    return value


def config_from_json(options: Mapping[str, Any]) -> Config:
    """Return the configuration that config.json holds; options that it lacks have their defaults.

    Raises:
        ValueError: it has an option that is retired, at a value that cannot be given any more.
    """
    known = without_retired(options)
    if unknown := {k: v for k, v in known.items() if k not in ENTRIES}:
        raise ValueError(f"The run must have options that exist. Received: {unknown}")
    return Config(**{k: float(v) if v == "inf" else v for k, v in known.items()})
