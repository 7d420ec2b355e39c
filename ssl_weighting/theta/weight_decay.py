"""Which parameters weight decay pulls to zero."""

from __future__ import annotations

SCOPES = ("kernels", "all")


def is_decayed(variable, weight_decay_scope: str) -> bool:
    """Return whether 0.5 ||variable||^2 is in the objective.

    Args:
        variable: Keras variable with its own name.
        weight_decay_scope: "kernels": of convolutions and Dense layers (FixMatch); "all": biases
            and BatchNorm's gamma and beta too (UDA).

    Raises:
        ValueError: unknown scope.
    """
    if weight_decay_scope not in SCOPES:
        raise ValueError(
            f"`weight_decay_scope` must be one of {', '.join(SCOPES)}. "
            f"Received: {weight_decay_scope!r}"
        )
    return weight_decay_scope == "all" or variable.name == "kernel"
