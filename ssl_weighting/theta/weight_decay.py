"""Which parameters weight decay pulls to zero."""

from __future__ import annotations

SCOPES = ("kernels", "all")


def is_decayed(variable, scope: str) -> bool:
    """Return whether 0.5 ||variable||^2 is in the objective.

    Args:
        variable: Keras variable with its own name.
        scope: "kernels": of convolutions and Dense layers (FixMatch); "all": biases and
            BatchNorm's gamma and beta too (UDA).

    Raises:
        ValueError: unknown scope.
    """
    if scope not in SCOPES:
        raise ValueError(f"`scope` must be one of {', '.join(SCOPES)}. Received: scope={scope!r}")
    return scope == "all" or variable.name == "kernel"
