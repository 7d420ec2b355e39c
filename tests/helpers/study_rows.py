"""Plans and rows of a made-up study for its tests: every number is chosen by the test."""

from experiments.study.families_found import FamilyPlan
from experiments.study.rows import Row

METHODS = ("supervised", "fixed_0.3", "fixed_1", "v_as_labels", "per_example", "cross_fit")
OPTIONS = "0123456789ab"


def plan(name="fashion_mnist_v160", methods=METHODS, seeds=(1, 2, 3), **fields):
    """Return a plan whose runs all have the options hash `OPTIONS`."""
    options = {(method, seed): OPTIONS for method in methods for seed in seeds}
    about = {"dataset": "fashion_mnist", "contamination": "none", "num_labeled": 40}
    about |= {"val_size": 160} | fields
    return FamilyPlan(name=name, methods=methods, seeds=seeds, options=options, **about)


def row(method, seed, error, family="fashion_mnist_v160", **fields):
    """Return one finished run; weights only where `fields` give them."""
    values = {
        "family": family, "method": method, "seed": seed, "options": OPTIONS, "commit": "c0ffee",
        "version": "0.1.0", "source": "made up", "split": f"split{seed}", "label": method,
        "num_labeled": 40, "val_size": 160, "num_unlabeled": 1000, "steps": 3000,
        "test_error": error, "test_error_best_on_validation": error,
        "best_on_validation_is_optimistic": False, "single_test_error": None,
        "raw_test_error": error + 1.0, "validation_error": error, "validation_loss": 1.0,
        "lam_mean": None, "lam_std": None, "lam_low": None, "lam_high": None, "moved": None,
        "visits": None, "between_classes": None, "lambda_steps": 0,
        "lam_by_group": {}, "auroc": {}, "medians": {},
        "lambda_share": 0.0, "seconds": 3600.0,
    }  # fmt: skip
    return Row(**(values | fields))


WEIGHTS = {
    "lam_mean": 0.9, "lam_std": 0.1, "lam_low": 0.7, "lam_high": 1.1, "moved": 0.95, "visits": 9.0,
    "between_classes": 0.5,
    "lambda_steps": 350, "best_on_validation_is_optimistic": True,
    "lam_by_group": {"foreign": [400, 0.8, 0.1, 0.9], "own": [600, 1.0, 0.1, 0.9]},
    "auroc": {"wrong/lam": 0.51, "wrong/confidence": 0.9, "foreign/lam": 0.6},
    "medians": {"stale_fresh_spearman": 0.4},
}  # fmt: skip


def by_key(rows):
    """Return rows as the record holds them."""
    return {one.key: one for one in rows}
