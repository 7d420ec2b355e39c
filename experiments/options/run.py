"""Options of running: where to, how often what is kept and shown, on what hardware."""

from __future__ import annotations

import dataclasses

from experiments.options.entry import BOOKKEEPING, NOT_NEGATIVE, POSITIVE, ROUNDING, Group, Need
from experiments.options.lam import LEARNS
from ssl_weighting.training.recipes import CHOICES

_option = Group("run", departs=False)


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How a run is made; next to nothing here changes what it computes."""

    out: str = _option("", "run folder", effect=BOOKKEEPING, free=True)
    resume: bool = _option(
        True, "continue from the newest intact checkpoint in --out", effect=BOOKKEEPING, free=True
    )
    # `log_every` and this one decide over which steps metrics.jsonl has means, and nothing else.
    checkpoint_every: int = _option(
        1000, "steps between checkpoints", POSITIVE, effect=BOOKKEEPING, free=True
    )
    keep_checkpoints: int = _option(
        3, "newest checkpoints kept", POSITIVE, effect=BOOKKEEPING, free=True
    )
    measure_noise: bool = _option(
        False,
        "log how far the scores by two halves of V' agree; three times the work",
        needs=LEARNS,
    )
    eval_every: int = _option(1000, "steps between evaluations", POSITIVE)
    log_every: int = _option(
        20, "at most so many steps between log lines", POSITIVE, effect=BOOKKEEPING, free=True
    )
    deterministic: bool = _option(
        True,
        "deterministic TensorFlow kernels; false where a GPU is faster without",
        effect=ROUNDING,
    )
    # XLA rounds otherwise, as another processor does.
    jit: bool = _option(
        False, "compile the theta-step and the evaluation with XLA", effect=ROUNDING, free=True
    )
    smoke: bool = _option(
        False,
        "does the command run? A few small steps on small data of its kind",
        needs=Need("images or texts", lambda c: c.model in ("wide_resnet", "bert")),
    )
    devices: int = _option(
        1, "GPUs that share a theta-step; 0: all that are found", NOT_NEGATIVE, effect=ROUNDING
    )
    workers: str = _option(
        "",
        "auto: processes that TF_CONFIG, SLURM or an Indexed Job name share each theta-step",
        choices=("", "auto"),
        effect=ROUNDING,
        free=True,  # how many devices they are together is compared all the same
    )
    lambda_workers: str = _option(
        "auto",
        "who takes a Lambda-step of --workers=auto: each of them all of it, the chief for all, or "
        "split among them; auto: each where their machines are alike, else chief",
        choices=("auto", "each", "chief", "split"),
        needs=LEARNS.with_(Need("--workers=auto", lambda c: bool(c.workers))),
        effect=ROUNDING,
        free=True,  # the way on where machines turn out to round otherwise
    )
    resume_with_devices: bool = _option(
        False,
        "go on from a checkpoint of another number of devices, with other rounding errors",
        effect=BOOKKEEPING,
        free=True,
    )
    threads: int = _option(
        0, "cores of the CPU that a run uses; 0: all", NOT_NEGATIVE, effect=ROUNDING, free=True
    )
    precision: str = _option(
        "float32",
        "what the network computes in; half precision where a GPU has it",
        choices=CHOICES["precision"],
        effect=ROUNDING,
    )

    @property
    def several(self) -> bool:
        """Whether theta-steps may be shared by several devices, of one process or many."""
        return self.devices != 1 or bool(self.workers)
