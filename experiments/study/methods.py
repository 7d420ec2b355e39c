"""The methods that the study compares: name -> options."""

from __future__ import annotations

# The study: does a weight for each example beat one weight, tuned on the same V?
GRID = (0.3, 1.0, 3.0)  # of the tuned scalar; 0 is the supervised row
STUDY_METHODS = {
    "supervised": {"algorithm": "supervised"},
    "supervised_v_as_labels": {"algorithm": "supervised", "validation_as_labels": True},
    **{f"fixed_{lam:g}": {"weighting": "fixed", "lambda_init": lam} for lam in GRID},
    "v_as_labels": {"weighting": "fixed", "validation_as_labels": True},
    # One weight is moved by every Λ-step, each of the others by a thirtieth of them.
    "single": {"weighting": "single", "lambda_lr": 0.01},
    "per_example": {"weighting": "per_example"},
    "per_example_every_step": {"weighting": "per_example", "score_every_step": True},
    "shuffled": {"weighting": "shuffled"},
    "shuffled_every_step": {"weighting": "shuffled", "score_every_step": True},
    "confidence": {"weighting": "confidence"},
    # Two models, each validated on the other's labels: none of V is read. The paper has no such
    # thing. The second tells what the weights add to two models; the third has V's labels too.
    "cross_fit": {"weighting": "per_example", "validation": "cross_fit"},
    "cross_fit_fixed": {"weighting": "fixed", "validation": "cross_fit"},
    "cross_fit_v_as_labels": {
        "weighting": "per_example", "validation": "cross_fit", "validation_as_labels": True,
    },
    # A mark, no bound: it knows which pseudo-labels are wrong.
    "oracle": {"weighting": "oracle"},
}  # fmt: skip
# With a refit on all labels, V's too: a run gives two rows, this one and what stood before it.
_CROSS_FIT = {"validation": "cross_fit", "validation_as_labels": True, "refit": True}
REFIT_METHODS = {
    "per_example_refit": {"weighting": "per_example", "refit": True},
    "shuffled_refit": {"weighting": "shuffled", "refit": True},
    "cross_fit_refit": {"weighting": "per_example"} | _CROSS_FIT,
    "cross_fit_refit_shuffled": {"weighting": "shuffled"} | _CROSS_FIT,
}
# What an exact solution can be asked beside: none of them stands in a family of nets.
FEATURE_METHODS = STUDY_METHODS | {
    # There a Λ-step moves all weights, so that one weight takes as many steps as each of many.
    "single": {"weighting": "single"},
    "cross_fit_fixed_v_as_labels": {
        "weighting": "fixed", "validation": "cross_fit", "validation_as_labels": True,
    },
    "random": {"weighting": "random"},
    "oracle_v_as_labels": {"weighting": "oracle", "validation_as_labels": True},
    # The control that a biased D deserves: its labels weigh by the inverse of their class.
    "v_as_labels_balanced": {
        "weighting": "fixed", "validation_as_labels": True, "class_balanced": True,
    },
    # Do weights add to it?
    "per_example_refit_balanced": REFIT_METHODS["per_example_refit"] | {"class_balanced": True},
    "cross_fit_refit_balanced": REFIT_METHODS["cross_fit_refit"] | {"class_balanced": True},
} | REFIT_METHODS  # fmt: skip
