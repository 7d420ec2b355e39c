"""Not All Unlabeled Data are Equal (NeurIPS 2020): one learned weight per unlabeled example.

Where the paper is: Eq. 6 in `influence`, Alg. 1 in `bilevel`, Alg. 2 in `madam`. The public names
are given here, `from ssl_weighting import FixMatch, LambdaStep`; the module that holds a name is
loaded when the name is first asked for.
"""

import importlib
import importlib.util
import os

__version__ = "0.1.0"

# Looked up, not imported: the report needs this package but not the 14 seconds TensorFlow takes.
if importlib.util.find_spec("tensorflow") is None:
    raise ImportError(
        "`ssl_weighting` must be installed with TensorFlow. Received: no module `tensorflow`. "
        "Install exactly one of `pip install -e '.[cpu]'` and `pip install -e '.[gpu]'`."
    )

# A Keras set up for another backend would build models that no TensorFlow tape can see.
if os.environ.setdefault("KERAS_BACKEND", "tensorflow") != "tensorflow":
    raise ImportError(
        "`KERAS_BACKEND` must be 'tensorflow' or unset. "
        f"Received: KERAS_BACKEND={os.environ['KERAS_BACKEND']}. Run `unset KERAS_BACKEND`."
    )

# Module -> its public names. The functions `influence.influence` and
# `per_example_gradients.per_example_gradients` are not among them: here these names are modules.
_NAMES_OF = {
    "structs": "Forward LabeledBatch LossRows UnlabeledBatch",
    "objective": "row_weights weighted_objective",
    "influence": "Influence lam_gradient",
    "lambda_step": "LambdaStep LambdaStepSettings Measured",
    "bilevel": "BilevelSettings BilevelTrainer",
    "cross_fit": "CrossFitTrainer Ensemble",
    "refit": "RefitTrainer",
    "madam": "MAdam madam_update",
    "weight_store": "WeightStore",
    "evaluation": "Evaluator",
    "checkpointing": "Checkpoints",
    "parameters": "Parameters",
    "parameters.last_layer": "LastLayer",
    "parameters.subnetwork": "Subnetwork",
    "theta.step": "NonFiniteError",
    "theta.ema": "ExponentialMovingAverage",
    "algorithms": """
        ALGORITHMS FixMatch MeanTeacher MixMatch PseudoLabel ReMixMatch Supervised UDA VAT
        make_algorithm""",
    "inverse_hessian": "METHODS Curvature Solution SolveOptions solve",
    "models.network": "Network",
    "per_example_gradients": "ENGINES per_example_dot_products",
}
_MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names.split()}
__all__ = [*_MODULE_OF]


def __getattr__(name: str):
    """Return the public name, or the module of this package, called `name` (PEP 562)."""
    if name not in _MODULE_OF:
        if name.isidentifier() and importlib.util.find_spec(f"{__name__}.{name}"):
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(
            f"`ssl_weighting` has no public name {name!r}. Known: {', '.join(sorted(_MODULE_OF))}"
        )
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value  # found at once from here on
    return value


def __dir__() -> list[str]:
    """Return the names of this module, the public ones included."""
    return sorted({*globals(), *__all__})
