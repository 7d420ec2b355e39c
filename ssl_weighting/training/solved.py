"""What `inner="solve"` asks of the other settings: an objective that is convex and stands still.

No TensorFlow.
"""

from __future__ import annotations

from typing import Any, NamedTuple

STEPS, SOLVE = "steps", "solve"
ALGORITHMS = ("supervised", "pseudo_label", "uda", "fixmatch")  # whose rows are cross-entropies


class Offence(NamedTuple):
    """A setting that does not go with it."""

    name: str
    must: str  # "`name` must be ..."
    value: Any
    why: str


_CONVEX = "the loss must be convex in theta"
_STILL = "a round's objective stands still"
_WHOLE = "there are neither batches nor steps of an optimizer"
_MUST = (
    ("algorithm", ALGORITHMS, _CONVEX),
    ("head", ("linear",), _CONVEX),
    ("entropy_coefficient", (0,), _CONVEX),
    ("feature_views", ("auto", "given", "none"), "made views are others at every visit"),
    ("ramp_steps", (0, -1), _STILL),
    ("tsa", ("none",), _STILL),
    ("interleave", (False,), _WHOLE),
    ("ema_decay", (0,), _WHOLE),
    ("stale_w", (False,), _WHOLE),
    ("infl_own_features", (False,), _WHOLE),
    ("score_every_step", (False,), _WHOLE),
    ("lambda_at_start", (False,), "Eq. 6 speaks of a solution"),
    ("influence_params", ("last_layer",), "nothing else learns"),
    ("inverse_hessian", None, _WHOLE),
    ("precision", ("float32",), "it is solved in float64"),
    ("jit", (False,), "no theta-step is compiled"),
)


def offence(settings) -> Offence | None:
    """Return the first of the settings, or options, that do not go with `inner="solve"`."""
    for name, allowed, why in _MUST:
        value = getattr(settings, name)
        if name == "inverse_hessian":
            if value == "unrolled":
                return Offence(name, "a method other than unrolled", value, why)
        elif value not in allowed:
            return Offence(name, _one_of(allowed), value, why)
    if not settings.weight_decay > 0:
        why = "without it, separable labels have no solution"
        return Offence("weight_decay", "greater than 0", settings.weight_decay, why)
    return None


def _one_of(values):
    words = [str(v).lower() if isinstance(v, bool) else str(v) for v in values if v != -1]
    return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
