"""What a case gives, to be compared with what it gave elsewhere."""

from __future__ import annotations

from typing import Any, NamedTuple


class Trace(NamedTuple):
    """What a case gave: of each theta-step, and of each Lambda-step with its examples."""

    loss: list[float]
    gradient_norm: list[float]
    lambda_steps: list[dict[str, Any]]  # step, validation_loss, ids [K], influence [K], lam [K]
