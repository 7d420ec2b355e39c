"""Base SSL algorithms by name; each maps (forward, labeled, unlabeled, step) to loss rows."""

import inspect

from ssl_weighting.algorithms.class_balanced import ClassBalanced, class_weights
from ssl_weighting.algorithms.fixmatch import FixMatch
from ssl_weighting.algorithms.mean_teacher import MeanTeacher
from ssl_weighting.algorithms.mixmatch import MixMatch
from ssl_weighting.algorithms.oracle import ORACLE, ORACLE_ALGORITHMS, Oracle
from ssl_weighting.algorithms.pseudo_label import PseudoLabel
from ssl_weighting.algorithms.remixmatch import ReMixMatch
from ssl_weighting.algorithms.supervised import Supervised
from ssl_weighting.algorithms.uda import UDA
from ssl_weighting.algorithms.vat import VAT

ALGORITHMS = {
    "supervised": Supervised,
    "pseudo_label": PseudoLabel,
    "vat": VAT,
    "mean_teacher": MeanTeacher,
    "mixmatch": MixMatch,
    "uda": UDA,
    "remixmatch": ReMixMatch,
    "fixmatch": FixMatch,
}


def _fields(kind):
    return inspect.signature(kind).parameters


SETTINGS = frozenset().union(*map(_fields, ALGORITHMS.values()))


def make_algorithm(name: str, **settings):
    """Return the algorithm called `name` with those of the settings that it has.

    Args:
        name: a key of `ALGORITHMS`.
        **settings: in `SETTINGS`, the fields of any of the algorithms.

    Raises:
        ValueError: an unknown name, or a setting that no algorithm has.
    """
    if name not in ALGORITHMS:
        known = ", ".join(ALGORITHMS)
        raise ValueError(f"`name` must be one of {known}. Received: name={name!r}")
    if unknown := sorted(settings.keys() - SETTINGS):
        raise ValueError(
            f"`settings` must be among {', '.join(sorted(SETTINGS))}. Received: {unknown}"
        )
    taken = _fields(ALGORITHMS[name])
    return ALGORITHMS[name](**{k: v for k, v in settings.items() if k in taken})


__all__ = [
    "ALGORITHMS", "ORACLE", "ORACLE_ALGORITHMS", "SETTINGS", "ClassBalanced", "Oracle",
    "class_weights", "make_algorithm",
    *(kind.__name__ for kind in ALGORITHMS.values()),
]  # fmt: skip
