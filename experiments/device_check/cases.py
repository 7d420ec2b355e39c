"""The cases of `check_device`: nets, batches and options, small enough to be played anywhere.

Each takes its first Lambda-step before its first theta-step. Nothing of a case hangs on a rounding
if that can be helped: thresholds are where no confidence is, dropout and TSA are off, and VAT's
probe is long enough to be more than noise. Knows nothing of TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from experiments.options.config import Config
from experiments.options.presets import make_config

ALGORITHMS = (  # on a Wide-ResNet
    "supervised", "pseudo_label", "mean_teacher", "mixmatch", "uda", "remixmatch",
    "fixmatch",
)  # fmt: skip
SHARES = (1, 2, 4, 8)  # devices that the batches of small cases can be divided among
LAMBDA_LR = 0.1  # how far a weight goes in its first step
FIXMATCH, UDA, BERT = "fixmatch_paper", "uda_paper", "bert"


class Variant(NamedTuple):
    """A way of computing that a device may be asked for.

    Attributes:
        tolerance: a name in `compare.TOLERANCES`.
        tf32: whether float32 products may be rounded to TF32, TensorFlow's default on a GPU that
            can. A CPU cannot.
    """

    name: str
    tolerance: str = "float32"
    precision: str = "float32"
    jit: bool = False
    tf32: bool = False
    devices: int = 1


FLOAT32 = Variant("float32")
TF32 = Variant("tf32", "half", tf32=True)
MIXED = Variant("mixed_float16", "half", precision="mixed_float16")
JIT = Variant("jit", jit=True)


@dataclasses.dataclass(frozen=True)
class Case:
    """One problem and how it is trained on.

    Attributes:
        name: of the case and of its trace.
        options: of `make_config`.
        shape: of an input; of a BERT (tokens,).
        num_classes: C.
        pool: |U|; batches take its ids in turn.
        steps: theta-steps that are compared.
        extra: options of the algorithm that no option of a run gives.
        seed: of inputs, labels and initial values.
        alone: whether it is played in float32 (and TF32) only.
        large: of the paper's shapes: its other variants want a GPU.
        bert: (layers, width) of a BERT; () of other nets.
    """

    name: str
    options: Mapping[str, Any]
    shape: tuple[int, ...]
    num_classes: int
    pool: int
    steps: int
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 1
    alone: bool = True
    large: bool = False
    bert: tuple[int, ...] = ()

    def config(self, variant: Variant = FLOAT32, **disturbed: Any) -> Config:
        """Return the options of a run of it; `disturbed` win."""
        given = {"weighting": "per_example", "lambda_at_start": True, "lambda_warmup_steps": 0}
        given |= {"jit": variant.jit, "precision": variant.precision, "lambda_lr": LAMBDA_LR}
        config = make_config(**given | dict(self.options) | disturbed)
        return dataclasses.replace(config, devices=variant.devices)


def variants(case: Case, gpus: int, devices: int) -> tuple[Variant, ...]:
    """Return how a case is played on a machine.

    Args:
        gpus: that it has.
        devices: GPUs, or parts of a divided CPU, to share a step; 1: none do.
    """
    found = [FLOAT32] + [TF32] * bool(gpus)
    if not case.alone and (gpus or not case.large):
        found += [MIXED, JIT]
        # BatchNorm of slices is another function: only a net without it is the same on several.
        if devices > 1 and not case.large:
            found.append(Variant(f"devices={devices}", devices=devices))
    return tuple(found)


_SMALL = {"labeled_batch": 8, "unlabeled_ratio": 3, "steps": 20, "inner_steps": 5}
# Steps that do not multiply a rounding a thousandfold, and an epsilon by which a weight's way is
# no matter of the sign of an influence near 0; the other cases have the paper's.
_NET = {
    "dataset": "cifar10", "depth": 10, "width": 1, "base_filters": 8, "optimizer": "nesterov",
    "learning_rate": 0.003, "madam_epsilon": 0.05,
}  # fmt: skip
_POINTS = {
    "dataset": "moons", "optimizer": "nesterov", "learning_rate": 0.03, "lr_schedule": "cosine",
    "weight_decay": 5e-4, "ema_decay": 0.5,
}  # fmt: skip
# What would leave every mask of a fresh net 0, or hang on a rounding.
_THRESHOLDS = {"threshold": 0.4}
# Of VAT, whose direction a net with BatchNorm multiplies beyond comparison: it is played on points.
_PROBE, _LENGTH = {"xi": 0.1}, {"vat_epsilon": 0.5, "optimizer": "nesterov"}
_SEEDS = {"fixmatch": 2, "uda": 4, "mixmatch": 3, "remixmatch": 2}  # of no near tie
_ONE_LAMBDA_STEP = {"inner_steps": 10**6}


def _images(algorithm):
    options = {"algorithm": algorithm} | _NET | _SMALL | _THRESHOLDS
    if algorithm == "supervised":
        options["weighting"] = "fixed"
    return Case(algorithm, options, (8, 8, 3), 4, 60, 20, seed=_SEEDS.get(algorithm, 1))


def _points(algorithm, alone=False, extra=None, **options):
    options = {"algorithm": algorithm} | _POINTS | _SMALL | _THRESHOLDS | options
    return Case(f"mlp_{algorithm}", options, (12,), 4, 60, 20, extra or {}, alone=alone)


def _paper(name, algorithm):
    """Table 1's step: WRN-28-2 on CIFAR-10, every pseudo-label in use."""
    options = {"dataset": "cifar10", "algorithm": algorithm, "threshold": 0.0} | _ONE_LAMBDA_STEP
    return Case(name, options, (32, 32, 3), 10, 896, 3, alone=False, large=True)


_BERT = {"algorithm": "uda", "dataset": "imdb", "lr_schedule": "constant", "tsa": "none"}
CASES = {
    case.name: case
    for case in (
        _points("fixmatch"),
        _points("uda", optimizer="adam", learning_rate=1e-3),
        _points("vat", alone=True, extra=_PROBE, **_LENGTH),
        *map(_images, ALGORITHMS),
        _paper(FIXMATCH, "fixmatch"),
        _paper(UDA, "uda"),
        Case(BERT, _BERT | _ONE_LAMBDA_STEP, (128,), 2, 64, 3, bert=(6, 384)),
    )
}
