"""Base SSL algorithms by name; each maps (forward, labeled, unlabeled, step) to loss rows."""

from ssl_weighting.algorithms.fixmatch import FixMatch
from ssl_weighting.algorithms.pseudo_label import PseudoLabel
from ssl_weighting.algorithms.supervised import Supervised
from ssl_weighting.algorithms.uda import UDA

ALGORITHMS = {
    "supervised": Supervised,
    "pseudo_label": PseudoLabel,
    "uda": UDA,
    "fixmatch": FixMatch,
}


def make_algorithm(name: str, **settings):
    """Return the algorithm called `name` with those of its settings that it has.

    Args:
        name: a key of `ALGORITHMS`.
        **settings: threshold, temperature, unlabeled_coefficient, ramp_steps.

    Raises:
        ValueError: unknown name.
    """
    if name not in ALGORITHMS:
        known = ", ".join(ALGORITHMS)
        raise ValueError(f"`name` must be one of {known}. Received: name={name!r}")
    kind = ALGORITHMS[name]
    fields = getattr(kind, "__dataclass_fields__", {})
    return kind(**{k: v for k, v in settings.items() if k in fields})


__all__ = ["ALGORITHMS", "UDA", "FixMatch", "PseudoLabel", "Supervised", "make_algorithm"]
