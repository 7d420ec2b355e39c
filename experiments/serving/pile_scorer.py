"""What RUN/scorer says of images, texts or features: each as if it were alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from experiments.assemble.backbone_inputs import text_features
from experiments.assemble.pile_views import augmentation_from
from experiments.options.kinds import IMAGES, TEXTS, Kind
from experiments.runs.run_files import RunError
from experiments.runs.saved_model import kind_of_run, load_model
from experiments.runs.scorer_files import SETTINGS, Recorded, digest_of_arrays
from experiments.serving.predictor import encoders
from experiments.serving.text_inputs import text_inputs
from experiments.serving.wanted import backbone_kind
from ssl_weighting.algorithms import make_algorithm
from ssl_weighting.algorithms.anchored import Anchored
from ssl_weighting.evaluation import in_batches
from ssl_weighting.lambda_step import make_parameters
from ssl_weighting.lambda_step_settings import LambdaStepSettings
from ssl_weighting.scoring import Scored, Scorer, keys_of, views_of

_TEXTS = 64  # in the model at once
_ROWS = 4096
_IMAGES, _PIXELS = 128, 2**20  # at most: what stays in the processor's cache takes a tenth less
_MULTIPLE = 16  # lengths of texts that frozen layers tell apart

Score = Callable[[Any, Sequence[str]], Scored]  # n inputs and their names


def pile_scorers(run: Path, config: Mapping[str, Any], recorded: Recorded) -> dict[Kind, Score]:
    """Return kind of inputs -> what scores n of them.

    Args:
        run: its folder; config: its config.json; recorded: of `read_scorer`.

    Raises:
        OSError, ValueError: a file is damaged, or the files do not belong together. So do the
            functions, where a backbone is needed and is not there.
    """
    model = load_model(recorded.folder, config)
    settings = recorded.settings
    if (found := digest_of_arrays(np.array(x.value) for x in model.weights)) != settings["theta"]:
        raise RunError(
            f"{recorded.folder} must hold the model that its v is of, with the digest "
            f"{settings['theta'][:12]}. Received: {found[:12]}, in {run}"
        )
    kind, raw = kind_of_run(config), backbone_kind(config)
    scorer = _made(recorded, model, _batch_of(kind, config["input_shape"]))
    if kind is TEXTS:
        return {TEXTS: _of_texts(scorer, text_inputs(model, config))}
    views = views_of(augmentation_from(settings["views"], recorded.views), settings["seed"])

    def tensors(inputs, keys):
        return scorer.tensors(*views(inputs, keys))

    def score(inputs, names):
        return Scored(*in_batches(tensors, scorer.batch, inputs, keys_of(names)))

    found = {kind: score}
    if raw is TEXTS:
        opened = functools.cache(lambda: text_features(config))
        found[raw] = lambda texts, names: score(_features(opened(), texts), names)
    elif raw is not None:
        encode = encoders(config)[raw]
        found[raw] = lambda inputs, names: score(encode(inputs), names)
    return found


def _made(recorded, model, batch) -> Scorer:
    try:
        settings = recorded.settings
        given = dict(settings["algorithm"])
        algorithm = make_algorithm(given.pop("name"), **given)
        if recorded.anchor:
            algorithm = _anchored(algorithm, model, recorded.anchor)
        influence = LambdaStepSettings(**settings["influence"])
        parameters = make_parameters(model, influence, 0.0)
        how = {"batch": batch, "infl_mask_grad": influence.infl_mask_grad}
        return Scorer(parameters, algorithm, recorded.direction, settings["step"], **how)
    except (KeyError, TypeError, ValueError) as error:
        path = recorded.folder / SETTINGS
        raise RunError(f"{path} must tell how its run scores examples: {error}") from error


def _anchored(algorithm, model, values):
    made = Anchored(algorithm, *model.trainable_variables[-2:])
    for variable, value in zip(made.variables, values, strict=True):
        variable.assign(value)
    return made


def _batch_of(kind, shape) -> int:
    """Return how many examples are in the net at once; a power of two, which divides a chunk."""
    if kind is TEXTS:
        return _TEXTS
    if kind is not IMAGES:
        return _ROWS
    fitting = max(1, _PIXELS // (shape[0] * shape[1]))
    return int(np.clip(2 ** (fitting.bit_length() - 1), 16, _IMAGES))


def _of_texts(scorer, inputs) -> Score:
    def act(tokens):
        shown = inputs(tokens)
        return scorer.scores(shown, shown)

    def score(texts, names):
        del names  # nothing is drawn
        tokens = inputs.encode(texts)
        if inputs.lower is None:
            return scorer.scores(tokens, tokens)
        return _each_length(tokens, act)

    return score


def _features(features, texts):
    return _each_length(features.encode(texts), features.net)


def _each_length(tokens, act):
    """Return act(tokens [b, L]) of all, those of one length by themselves.

    Frozen layers skip the padding that all of a batch have: among longer texts the same text would
    have other digits.
    """
    length = -(-(tokens != 0).sum(axis=1) // _MULTIPLE)
    order = np.argsort(length, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(length[order])) + 1)
    pieces = [group[k : k + _TEXTS] for group in groups for k in range(0, len(group), _TEXTS)]
    parts = [act(tokens[piece]) for piece in pieces]
    back = np.argsort(order)
    return tf.nest.map_structure(lambda *x: np.concatenate(x)[back], *parts)
