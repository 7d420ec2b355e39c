"""What runs of every kind leave to score by is training's own lambda-gradient, read from files."""

import dataclasses

import keras
import numpy as np
import pytest
from feature_files import arrays, write_npz
from runs import DIGITS
from text_runs import tiny_options

from experiments.assemble.build import build, load_splits, settings_of
from experiments.assemble.pile_views import augmentation_from, pile_views
from experiments.assemble.views import augmentation_of
from experiments.options.kinds import TEXTS
from experiments.options.presets import make_config
from experiments.runs.results import write_config
from experiments.runs.scorer import write_scorer
from experiments.runs.scorer_files import MODEL, read_scorer
from experiments.serving import pile_scorer
from ssl_weighting.data.images.pixel_statistics import pixel_statistics
from ssl_weighting.lambda_step import LambdaStep, make_parameters
from ssl_weighting.structs import LabeledBatch
from ssl_weighting.training.features import feature_views
from ssl_weighting.training.settings import lambda_settings

FEATURES = {
    "num_labeled": 9, "val_size": 9, "labeled_batch": 6, "unlabeled_ratio": 2, "steps": 6,
    "inner_steps": 3, "lambda_warmup_steps": 1, "threshold": 0.0,
}  # fmt: skip
SOLVED = {"inner": "solve", "num_labeled": 9, "val_size": 9, "steps": 6, "weight_decay": 0.02}


def trained(out, options):
    """Return a run at its end, its files and what it left."""
    config = make_config(**options, out=str(out))
    run = build(config, load_splits(config))
    for _ in run.trainer.steps(config.steps):
        pass
    configuration = write_config(run, "train")
    write_scorer(run)
    return run, configuration, read_scorer(out, configuration)


def by_training(run):
    """Return the batch of the next Lambda-step and id -> gradient, V' being all of V."""
    trainer, s = run.trainer, run.trainer.settings
    settings = dataclasses.replace(lambda_settings(settings_of(run.config)), infl_bn="moving")
    parameters = make_parameters(trainer.model, settings, s.weight_decay, s.weight_decay_scope)
    source = trainer.lambda_source
    how = {"parameters": parameters, "views": getattr(source, "views", 1)}
    step = LambdaStep(trainer.model, trainer.algorithm, trainer.store, settings, **how)
    v = run.splits.validation
    whole = LabeledBatch(run.evaluator.preprocess(v.inputs), v.labels)
    labeled, unlabeled = source.at(trainer.lambda_steps)
    measured = step.measure(labeled, unlabeled, whole, trainer.step)
    ids, values = measured.ids.numpy(), measured.lam_gradient.numpy()
    return unlabeled, dict(zip(ids.tolist(), values, strict=True))


def check(run, recorded):
    unlabeled, expected = by_training(run)
    model = keras.models.load_model(recorded.folder / MODEL, compile=False)
    scorer = pile_scorer._made(recorded, model, 16)
    found = scorer.scores(unlabeled.weak, unlabeled.strong).influence
    summed = {}
    views = unlabeled.ids.shape[0] / len(expected)  # l_U is the mean over the views of an id
    for id_, value in zip(unlabeled.ids.numpy().tolist(), found, strict=True):
        summed[id_] = summed.get(id_, 0.0) + value / views
    values = np.array([expected[k] for k in summed])
    assert np.ptp(values) > 0
    close = {"rtol": 0, "atol": 2e-5 * np.abs(values).max()}
    np.testing.assert_allclose(list(summed.values()), values, **close)


@pytest.mark.parametrize(
    ("views", "options"),
    [
        (0, FEATURES | {"algorithm": "fixmatch"}),
        pytest.param(
            2,
            FEATURES | {"algorithm": "uda", "head": "mlp", "influence_params": "all"},
            marks=pytest.mark.slow,
        ),
        (2, SOLVED | {"algorithm": "uda"}),
    ],
)
def test_of_features(tmp_path, views, options):
    dataset = write_npz(tmp_path / "f.npz", **arrays(views=views))
    run, _, recorded = trained(tmp_path / "run", options | {"dataset": dataset})
    check(run, recorded)
    assert bool(recorded.anchor) == ("inner" in options)
    assert recorded.settings["views"]["kind"] == ("none" if views else "perturbed")
    if not views:
        made = augmentation_from(recorded.settings["views"], recorded.views)
        own = feature_views(settings_of(run.config), run.splits)
        x = run.splits.unlabeled.inputs[:5]
        draws = np.random.default_rng(0).random((5, own.strong_draws)).astype(np.float32)
        assert own.strong_draws == made.strong_draws > 0
        np.testing.assert_array_equal(made.strong(x, draws), own.strong(x, draws))


@pytest.mark.slow
def test_of_a_part_of_a_net(tmp_path):
    options = DIGITS | {"steps": 6, "influence_params": "group_2|head"}
    options |= {"inverse_hessian": "conjugate_gradient", "damping": 1.0}
    run, _, recorded = trained(tmp_path / "run", options)
    assert recorded.direction.dtype == np.float32
    check(run, recorded)


@pytest.mark.slow
@pytest.mark.parametrize("trainable", [0, 1])
def test_of_texts(tmp_path, trainable):
    """Each text by itself, whatever its neighbours; frozen layers too."""
    options = tiny_options(tmp_path) | {"algorithm": "uda", "bert_trainable_layers": trainable}
    run, configuration, recorded = trained(tmp_path / "run", options)
    check(run, recorded)
    say = pile_scorer.pile_scorers(tmp_path / "run", configuration, recorded)[TEXTS]
    texts = ["good film", "bad " * 7, "a", "one two three four five six seven eight", "good film"]
    whole = say(texts, list("abcde"))
    assert whole.influence[0] == whole.influence[4]
    for rows in ([2], [3, 1], [4, 3, 2, 1, 0]):
        part = say([texts[k] for k in rows], [str(k) for k in rows])
        for values, expected in zip(part, whole, strict=True):
            np.testing.assert_array_equal(values, expected[rows])


VIEWS = {"fixmatch": "fixmatch", "uda": "uda", "pseudo_label": "weak"}


@pytest.mark.parametrize("algorithm", VIEWS)
def test_views_of_images_are_those_of_training(algorithm):
    config = make_config(**DIGITS | {"algorithm": algorithm})
    splits = load_splits(config)
    settings, found = pile_views(config, splits, None)
    own, made = augmentation_of(config, splits, None), augmentation_from(settings, found)
    assert made.name == own.name == VIEWS[algorithm] and settings["flip"] == config.flip
    assert (made.weak_draws, made.strong_draws) == (own.weak_draws, own.strong_draws)
    if algorithm == "uda":
        mean, std = pixel_statistics("digits", splits.unlabeled.inputs)
        assert (tuple(found["mean"]), tuple(found["std"])) == (mean, std)


def test_ctaugment_has_the_last_rates():
    config = make_config(**DIGITS | {"strong_augment": "ctaugment"})
    splits = load_splits(config)

    class Rates:
        def published(self):
            return keras.ops.ones((3, 2)) * 0.5

    settings, found = pile_views(config, splits, Rates())
    made = augmentation_from(settings, found)
    assert made.probe is None and settings["kind"] == "ctaugment"
    np.testing.assert_array_equal(made.state(), np.full((3, 2), 0.5))
