"""`WeightedSSLClassifier`: the method on rows of numbers, in scikit-learn's own shape.

docs/estimator.md tells what it is for, and what it reaches beside scikit-learn's own. TensorFlow is
imported by `fit` alone.
"""

from __future__ import annotations

import functools
import math
import numbers
import warnings
from collections.abc import Mapping

import numpy as np

from ssl_weighting.data.features.labels import (
    as_dataset,
    codes_of,
    labeled_rows,
    marked,
)
from ssl_weighting.training.derived import LEARNED
from ssl_weighting.training.own_recipe import Situation, TimeTooShort, own_recipe
from ssl_weighting.training.recipes import (
    FEATURES,
    HIDDEN_LAYERS,
    for_inner,
    group_of,
    planned_steps,
)
from ssl_weighting.training.solved import STEPS

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "`WeightedSSLClassifier` must be used with scikit-learn 1.6 or newer. "
        f"Received: {error}. Run `pip install -U scikit-learn`."
    ) from error

CROSS_FIT = "cross_fit"
ALGORITHMS = (
    "supervised", "pseudo_label", "vat", "mean_teacher", "mixmatch", "uda", "fixmatch",
)  # fmt: skip
WEIGHTINGS = ("zero", "fixed", "single", "per_example", "shuffled", "random", "confidence")
SECONDS, PLANNED = 900, 0.8  # of `time_budget` by default; the share of it that steps may fill
_SEEDS = 2**24  # of which one is drawn where `random_state` is no number
_OWN = ("algorithm", "weighting", "validation", "folds", "refit", "head", "seed")


class WeightedSSLClassifier(ClassifierMixin, BaseEstimator):
    """A head on features, trained on labeled and weighted unlabeled rows (Eq. 2, Alg. 1).

    Each unlabeled row has a weight λ of its own, which is learned: it falls where the row does harm
    to predictions on labels that the model was not trained on. The rows themselves should be good
    features, such as what a frozen network makes of pictures or texts; they are standardised here.

    Args:
        algorithm: base algorithm, one of `ALGORITHMS`; without unlabeled rows it is "supervised".
        weighting: "per_example" learns a weight for each row, "single" one for all; "fixed" leaves
            all at 1; the others of `WEIGHTINGS` are controls.
        validation: whose labels Λ is learned on: "cross_fit", each of `folds` models on the fold
            of labels that it lacks; a share of the labels, in (0, 1); or (X_val, y_val), which a
            refit learns from too.
        folds: K of the cross-fit.
        refit: then train one model on all labels with the learned Λ. Without it the model is that
            of the learning phase, of a cross-fit the mean of its models' probabilities.
        head: "linear", or "mlp" with two hidden layers of 100.
        time_budget: seconds in which training shall end. The recipe reckons with constants, never
            with a clock, and takes fewer steps where they would not suffice; None: 900.
        options: further options of training by the names that `train_features --help` lists, such
            as {"steps": 500, "threshold": 0.9}; None: the recipe's.
        random_state: an int is the seed of everything; a `RandomState` gives one; None draws one.
        verbose: 1 tells of the progress.

    Attributes:
        classes_: [C] labels.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.
        example_weights_: [n] float32, λ of each row of `X_unlabeled`, or, if that was None, of each
            row of `X`, NaN for labeled rows. NaN too where λ has no meaning: without unlabeled
            rows, with the supervised algorithm, and for exact copies of rows that validate.
        influence_: [n] float64 beside it, dL_S(V)/dλ (Eq. 6), mean over the Λ-steps that met the
            row: positive where the row does harm. NaN where none did.
        influence_error_: [n] float64, its standard error; NaN where fewer than two met the row.
        visits_: [n] int32, by how many Λ-steps the row's λ was moved.
        pseudo_labels_: [n] the class that the model gives each of these rows; of labeled rows of
            `X` the label.
        history_: list of dicts, one for each Λ-step and each block of θ-steps.
        seed_: the seed that was used.

    Examples:
        >>> model = WeightedSSLClassifier(random_state=0).fit(X, y)  # y is -1 where unknown
        >>> worst = (-model.influence_).argsort()[:20]  # rows that do the most harm
    """

    def __init__(
        self,
        algorithm="pseudo_label",
        *,
        weighting="per_example",
        validation=CROSS_FIT,
        folds=2,
        refit=True,
        head="linear",
        time_budget=None,
        options=None,
        random_state=None,
        verbose=0,
    ):
        self.algorithm = algorithm
        self.weighting = weighting
        self.validation = validation
        self.folds = folds
        self.refit = refit
        self.head = head
        self.time_budget = time_budget
        self.options = options
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y, X_unlabeled=None):
        """Train, and return the estimator.

        Args:
            X: [n, d] finite numbers; they are read as float32.
            y: [n] classes, numbers or strings. Without `X_unlabeled`, -1 marks a row without one.
            X_unlabeled: [m, d] rows without a label; every entry of `y` is then a class.

        Raises:
            ValueError: fewer than two classes, or rows, labels or parameters that do not fit.
            NonFiniteError: training is not finite any more.
        """
        self._check_parameters()
        X, y = validate_data(self, X, y, dtype=np.float32)
        labeled, classes, codes = labeled_rows(y, all_labeled=X_unlabeled is not None)
        check_classification_targets(y[labeled])
        unlabeled = X[~labeled]
        if X_unlabeled is not None:
            unlabeled = validate_data(
                self, X_unlabeled, reset=False, dtype=np.float32, ensure_min_samples=0
            )
        self.classes_, self.seed_ = classes, self._seed()
        self._train(X[labeled], codes, unlabeled)
        if X_unlabeled is None:
            self._align(y, labeled, unlabeled)
        else:
            self.pseudo_labels_ = self._labels_of(unlabeled)
        return self

    def _train(self, x, codes, unlabeled):
        from ssl_weighting.training.fit import fit_head  # TensorFlow takes seconds

        learns = len(unlabeled) > 0 and self.weighting in LEARNED and self.algorithm != "supervised"
        validation = self._given_validation()
        val_size = self._size_of_v(learns, len(x)) if validation is None else None
        if learns and validation is None and (least := np.bincount(codes).min()) < 2:
            raise ValueError(
                "`y` must have two labels of every class, one of which validates. Received: "
                f"{least} of {self.classes_[np.bincount(codes).argmin()]!r}. Label more, give "
                'validation=(X_val, y_val), or set weighting="fixed", which learns no weights.'
            )
        settings = self._settings(learns, codes, unlabeled, validation, val_size)
        raw = as_dataset(x, codes, self.classes_, unlabeled, validation)
        say = functools.partial(print, flush=True) if self.verbose else lambda line: None
        fitted = fit_head(settings, raw, val_size, say)
        self._heads, self.history_ = fitted.heads, fitted.history
        self.example_weights_, self.influence_ = fitted.lam, fitted.influence
        self.influence_error_, self.visits_ = fitted.influence_error, fitted.visits
        if not settings.uses_unlabeled:
            self.example_weights_ = np.full_like(fitted.lam, np.nan)
        if skipped := sum(entry.get("skipped", False) for entry in self.history_):
            warnings.warn(
                f"{skipped} Λ-steps found no solution and left the weights as they were. Raise "
                'options["damping"].',
                ConvergenceWarning,
                stacklevel=3,
            )

    def _align(self, y, labeled, unlabeled):
        """Spread what is known of the unlabeled rows over all rows of X."""
        for name in ("example_weights_", "influence_", "influence_error_", "visits_"):
            values = getattr(self, name)
            spread = np.full(len(y), 0 if name == "visits_" else np.nan, values.dtype)
            spread[~labeled] = values
            setattr(self, name, spread)
        self.pseudo_labels_ = np.empty(len(y), self.classes_.dtype)
        self.pseudo_labels_[labeled] = y[labeled]
        self.pseudo_labels_[~labeled] = self._labels_of(unlabeled)

    def predict(self, X) -> np.ndarray:
        """Return the most probable class of each row of X [n, d], in the labels' dtype."""
        places = self.predict_proba(X).argmax(axis=1)
        return self.classes_[places]

    def predict_proba(self, X) -> np.ndarray:
        """Return the probabilities [n, C] float64 of `classes_` for each row of X [n, d]."""
        check_is_fitted(self)
        return self._probabilities(validate_data(self, X, reset=False, dtype=np.float32))

    def score(self, X, y, sample_weight=None) -> float:
        """Return the accuracy on the rows of X [n, d] whose `y` is not -1, or has -1 as a class.

        So rows without a label, which a cross-validation deals out too, do not count.

        Raises:
            ValueError: no row has a label.
        """
        check_is_fitted(self)
        y = np.asarray(y)
        known = np.ones(len(y), bool) if -1 in self.classes_.tolist() else ~marked(y)
        if not known.any():
            raise ValueError("`y` must have labels to compare with. Received: -1 for all rows.")
        if known.all():
            return super().score(X, y, sample_weight)
        X = validate_data(self, X, reset=False, dtype=np.float32)[known]
        weight = None if sample_weight is None else np.asarray(sample_weight)[known]
        y = y[known].astype(self.classes_.dtype)
        return float(np.average(self._labels_of(X) == y, weights=weight))

    def _labels_of(self, x):
        """Return the classes of float32 rows [n, d], n may be 0."""
        return self.classes_[self._probabilities(x).argmax(axis=1)]

    def _probabilities(self, x):
        return np.mean([head.probabilities(x) for head in self._heads], axis=0)

    def _settings(self, learns, codes, unlabeled, validation, val_size):
        from ssl_weighting.training.settings import feature_settings

        supervised = not len(unlabeled) or self.algorithm == "supervised"
        options = dict(self.options or {})
        batches = FEATURES | {"interleave": False, "algorithm": self.algorithm} | options
        situation = Situation(
            labels=len(codes),
            least=int(np.bincount(codes).min()),
            classes=len(self.classes_),
            unlabeled=len(unlabeled),
            width=self.n_features_in_,
            validation=0 if validation is None else len(validation[1]),
            seconds=PLANNED * (SECONDS if self.time_budget is None else self.time_budget),
            learns=learns,
            uses_unlabeled=not supervised,
            linear=self.head == "linear",
            components=options.get("components"),
            steps=planned_steps(options),
            held_out=bool(val_size),
            folds=self.folds,
            group=group_of(batches),
        )
        recipe = for_inner(self._recipe(situation), options.get("inner", STEPS))
        given = recipe | {
            "algorithm": "supervised" if supervised else self.algorithm,
            "weighting": "fixed" if supervised else self.weighting,
            "head": self.head,
            "folds": self.folds,
            "seed": self.seed_,
            # Nothing to validate: one model of all labels, but for a V that was given.
            "refit": bool(self.refit) or not (learns or validation),
        }
        given.pop("val_size")  # of the programs alone
        return feature_settings(**given | options)

    def _recipe(self, situation):
        try:
            return own_recipe(situation)
        except TimeTooShort as error:
            raise ValueError(
                f"`time_budget` must be at least {math.ceil(error.seconds / PLANNED)} seconds for "
                f"these rows. Received: time_budget={self.time_budget}"
            ) from error

    def _given_validation(self):
        """Return V's rows and codes, where they were given."""
        if isinstance(self.validation, str | numbers.Real):
            return None
        x, y = self.validation
        x = validate_data(self, x, reset=False, dtype=np.float32)
        y = np.asarray(y)
        if y.shape != (len(x),):
            raise ValueError(
                f"`validation` must be (X_val, y_val) with one label a row. Received: {len(x)} "
                f"rows and labels of shape {y.shape}."
            )
        return x, codes_of(y, self.classes_)

    def _size_of_v(self, learns, num_labels):
        """Return |V| to be drawn from the labels, 0 for none."""
        if isinstance(self.validation, str) or not learns:
            return 0
        return max(len(self.classes_), round(self.validation * num_labels))

    def _seed(self):
        if self.random_state is None:
            return int(np.random.default_rng().integers(_SEEDS))
        if isinstance(self.random_state, numbers.Integral):
            return int(self.random_state)
        return int(self.random_state.randint(_SEEDS))

    def _check_parameters(self):
        for name, known in (
            ("algorithm", ALGORITHMS),
            ("weighting", WEIGHTINGS),
            ("head", tuple(HIDDEN_LAYERS)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(known)}. "
                    f"Received: {name}={getattr(self, name)!r}"
                )
        _check_validation(self.validation)
        if self.time_budget is not None and not self.time_budget > 0:
            raise ValueError(
                "`time_budget` must be None or seconds greater than 0. "
                f"Received: time_budget={self.time_budget!r}"
            )
        if not isinstance(self.options, Mapping | None):
            raise ValueError(
                "`options` must be None or a dict of settings by name. "
                f"Received: options={self.options!r}"
            )
        own = sorted(set(_OWN) & set(self.options or {}))
        if own:
            raise ValueError(
                f"`options` must have no {', '.join(own)}, which are parameters of their own. "
                f"Received: options={self.options!r}"
            )
        seed = self.random_state
        whole = isinstance(seed, numbers.Integral) and 0 <= seed < 2**32
        if not (seed is None or whole or isinstance(seed, np.random.RandomState)):
            raise ValueError(
                "`random_state` must be None, an int from 0 to 2^32 - 1, or a RandomState. "
                f"Received: random_state={seed!r}"
            )


def _check_validation(validation):
    if isinstance(validation, str) and validation == CROSS_FIT:
        return
    if isinstance(validation, numbers.Real) and 0 < validation < 1:
        return
    if isinstance(validation, tuple | list) and len(validation) == 2:
        return
    raise ValueError(
        f"`validation` must be {CROSS_FIT!r}, a share of the labels between 0 and 1, or "
        f"(X_val, y_val). Received: validation={validation!r}"
    )
