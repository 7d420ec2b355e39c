"""The paper's ablations (Sec. 4.3) at a size that a CPU can prove: on features of CIFAR-10.

DEVIATION: a linear head on components of a frozen net's features and Pseudo-Label, where the paper
trains a Wide ResNet by UDA. Fig. 3, Fig. 4 centre and Table 3 are of 40 labels: with the 4,000 of
Table 3 this head has nothing left to learn from U.
"""

from __future__ import annotations

PREFIX = "features_ablation_"
SEEDS = tuple(range(1, 11))
_LEARNED = {"weighting": "per_example"}
# Table 3 in the paper: N of 30, 100, 300 and eta of 0.001, 0.01, 0.1. Ours: the same ratios around
# a middle that visits each example about ten times.
N, ETA = 10, 0.3
WARM_UP = 120  # theta-steps before the first N that a Lambda-step ends
SMALL_N, LARGE_N = 3, 30
SMALL_ETA, LARGE_ETA = 0.03, 3.0

ABLATION_OPTIONS = {
    "threads": 1, "dataset": "cifar10", "backbone": "efficientnet_lite0", "components": 60,
    "num_train": 8000, "num_test": 4000, "wu": 2.0, "threshold": 0.8,
    "learning_rate": 0.02, "steps": 1200, "eval_every": 30, "log_every": 300,
    "checkpoint_every": 1200, "keep_checkpoints": 1, "inner_steps": N, "lambda_lr": ETA,
    "lambda_warmup_steps": WARM_UP, "lambda_batch": 256, "inverse_hessian": "exact",
}  # fmt: skip

NEUMANN = "inverse_neumann"
# Table A1: method -> its words.
INVERSES = {
    "per_example": "exact, last layer (the paper's)",
    "inverse_identity": "identity (Luketina et al.)",
    NEUMANN: "Neumann (Lorraine et al.)",
    "inverse_outer_product": "outer product (Larsen et al.)",
    "inverse_conjugate_gradient": "conjugate gradients",
    "inverse_stochastic_cg": "stochastic CG",
    "inverse_unrolled": "truncated unrolled",
}
# Terms of a series, as few as Lorraine et al. take; unrolling reaches back to the last Lambda-step.
# The recipe's 200 would hide what it costs to stop early.
_ITERATIONS = {"neumann": 20, "unrolled": N}
# Fig. 4 centre: each optimizer with its grid of step sizes. SGD's step is eta |s|: another scale.
OPTIMIZERS = {
    "M-Adam": {"per_example": ETA} | {f"eta_{eta:g}": eta for eta in (SMALL_ETA, LARGE_ETA)},
    "Adam": {f"adam_{eta:g}": eta for eta in (SMALL_ETA, ETA, LARGE_ETA)},
    "SGD": {f"sgd_{eta:g}": eta for eta in (1.0, 10.0, 100.0)},
}
# Fig. 4 left: the step of one weight, which every Lambda-step moves, is tuned on V as well.
SINGLES = {f"single_{eta:g}": eta for eta in (0.01, 0.03, 0.1)}
# Table 3's cells in the paper's order: method -> (N, eta).
CELLS = {
    f"n_{SMALL_N}": (SMALL_N, ETA), f"n_{LARGE_N}": (LARGE_N, ETA), "per_example": (N, ETA),
    f"eta_{LARGE_ETA:g}": (N, LARGE_ETA), f"eta_{SMALL_ETA:g}": (N, SMALL_ETA),
}  # fmt: skip
LABELS = (40, 100, 250, 1000, 4000)  # of Fig. 4 left, with the largest V
_BESIDE = 2960  # examples of U that are not labeled, in each family
SIZES = (10, 30, 100, 300, 1000)  # |V| of Fig. 4 right
LABELS_OF_SIZES = (40, 250)
_LARGE_V = SIZES[-1]


def _inverse(method):
    options = _LEARNED | {"inverse_hessian": method}
    return options | ({"solve_iterations": _ITERATIONS[method]} if method in _ITERATIONS else {})


_FIXED = {"fixed_1": {"weighting": "fixed"}}
_TWO = _FIXED | {"per_example": _LEARNED}
_THREE = _TWO | {name: {"weighting": "single", "lambda_lr": eta} for name, eta in SINGLES.items()}
_RECIPE = (
    _THREE
    | {name: _inverse(name.removeprefix("inverse_")) for name in list(INVERSES)[1:]}
    | {name: _LEARNED | {"inner_steps": n, "lambda_lr": eta} for name, (n, eta) in CELLS.items()}
    | {
        name: _LEARNED | {"lambda_optimizer": optimizer.lower(), "lambda_lr": eta}
        for optimizer in ("Adam", "SGD")
        for name, eta in OPTIMIZERS[optimizer].items()
    }
)


def name_of(num_labeled: int, val_size: int) -> str:
    """Return the family of these sizes."""
    return f"{PREFIX}l{num_labeled}_v{val_size}"


RECIPE_FAMILY = name_of(LABELS[0], _LARGE_V)  # of Fig. 3, Fig. 4 centre and Table 3


def _family(num_labeled, val_size, methods):
    return {
        name_of(num_labeled, val_size): {
            "methods": methods,
            "options": ABLATION_OPTIONS
            | {
                "num_labeled": num_labeled,
                "val_size": val_size,
                "num_unlabeled": num_labeled + _BESIDE,
            },
            "seeds": SEEDS,
            "own_v": True,
            "secondary": True,
            "variant": "ablations",
        }
    }


ABLATIONS = _family(LABELS[0], _LARGE_V, _RECIPE)
for _labels in LABELS[1:]:
    ABLATIONS |= _family(_labels, _LARGE_V, _THREE)
for _labels in LABELS_OF_SIZES:
    for _size in SIZES[:-1]:
        ABLATIONS |= _family(_labels, _size, _TWO)
