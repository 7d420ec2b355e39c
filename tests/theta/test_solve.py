"""Alg. 1 with exact theta-steps: objective, rounds, Eq. 6 against retraining, state, refusals."""

import numpy as np
import pytest
import tensorflow as tf
from feature_files import arrays, write_npz

from experiments.assemble.build import build, load_splits
from experiments.options.effects import without_effect
from experiments.options.own_plan import plan
from experiments.options.presets import make_config
from experiments.runs.again import Kept
from experiments.runs.state import capture, restore
from ssl_weighting import WeightedSSLClassifier, objective
from ssl_weighting.evaluation import log_softmax
from ssl_weighting.theta.convex_head import minimum
from ssl_weighting.theta.step import NonFiniteError
from ssl_weighting.training.settings import feature_settings
from ssl_weighting.training.solved import offence

SOLVED = {
    "inner": "solve", "num_labeled": 9, "val_size": 9, "steps": 6, "weight_decay": 0.02,
    "lambda_lr": 0.3, "wu": 2.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    plain, viewed = arrays(), arrays(views=2)
    copies = viewed | {"x_unlabeled": np.repeat(viewed["x_unlabeled"][:, :1], 4, axis=1)}
    one = viewed | {"x_unlabeled": copies["x_unlabeled"][:, :2]}
    named = {"plain": plain, "viewed": viewed, "copies": copies, "one": one}
    return {name: write_npz(folder / f"{name}.npz", **a) for name, a in named.items()}


@pytest.fixture
def made(files):
    def make(source="plain", **options):
        config = make_config(dataset=files[source], out="unused", **(SOLVED | options))
        return build(config, load_splits(config))

    return make


def drive(run, until):
    for _ in run.trainer.steps(until):
        pass
    return run


def head(run):
    return run.trainer.theta.theta


def largest_gradient(run):
    """The norm at the head, in float32, of the objective that its last step minimised."""
    problem = run.trainer.theta.problem(run.trainer.step - 1)
    return np.linalg.norm(problem.value_and_gradient(head(run))[1])


@pytest.mark.parametrize("algorithm", ["pseudo_label", "uda", "fixmatch"])
def test_the_solved_objective_is_the_weighted_objective(made, algorithm):
    run = drive(made("viewed", algorithm=algorithm, threshold=0.5), 2)
    trainer, theta = run.trainer, head(run) + 0.1
    problem = trainer.theta.problem(1)
    batch = trainer.source.at(1)
    rows = trainer.algorithm(trainer.theta._forward, *batch, tf.constant(1, tf.int64))
    lam = trainer.store.gather(rows.ids, rows.confidence, 3, 1)
    weights = tf.cast(objective.row_weights(rows, lam), tf.float64)
    wide = {name: tf.cast(getattr(rows, name), tf.float64) for name in ("coefficient", "mask")}
    kernel, bias = tf.constant(theta[:-1]), tf.constant(theta[-1])
    with tf.GradientTape() as tape:
        tape.watch([kernel, bias])
        logits = tf.cast(rows.features, tf.float64) @ kernel + bias
        one = rows._replace(loss=rows.loss_of_logits(logits), **wide)
        decayed = [kernel, bias] if run.config.weight_decay_scope == "all" else [kernel]
        loss = objective.weighted_objective(one, weights) + 0.02 * objective.l2_penalty(decayed)
    value, gradient = problem.value_and_gradient(theta)
    made_of = trainer.theta._round
    value += trainer.theta._coefficients(1) @ made_of.added
    np.testing.assert_allclose(value, loss, rtol=1e-6)
    expected = np.concatenate([g if len(g.shape) == 2 else g[None] for g in
                               tape.gradient(loss, [kernel, bias])])  # fmt: skip
    np.testing.assert_allclose(gradient, expected, atol=1e-7)


@pytest.mark.parametrize("source", ["plain", "viewed"])
def test_the_influence_is_that_of_retraining(made, source):
    run = drive(made(source, algorithm="fixmatch" if source == "viewed" else "pseudo_label",
                     feature_views="auto", threshold=0.0), 2)  # fmt: skip
    trainer, v = run.trainer, run.splits.validation
    step, store = trainer.step - 1, trainer.store
    features = run.evaluator.model(v.inputs)["features"].numpy()
    features = np.concatenate([features, np.ones([len(v), 1])], axis=1)

    def validation_loss():
        found = minimum(trainer.theta.problem(step), head(run), 1e-10)
        log_p = log_softmax(features @ found.theta)
        return -log_p[np.arange(len(v)), v.labels].mean()

    measured = trainer.measure()
    table, truth = store.lam.numpy().copy(), []
    few = slice(0, None, 7)
    for k in measured.ids.numpy()[few]:
        ends = []
        for moved in (0.02, -0.02):
            lam = table.copy()
            lam[k] += moved
            store.lam.assign(lam)
            ends.append(validation_loss())
        truth.append((ends[0] - ends[1]) / 0.04 * store.num_unlabeled)
    assert len(measured.ids) == store.num_unlabeled
    scores = measured.lam_gradient.numpy()[few]
    assert np.corrcoef(scores, truth)[0, 1] > 0.99
    np.testing.assert_allclose(scores, truth, rtol=0.01, atol=0.01 * np.abs(truth).max())


def test_copies_of_a_view_count_as_one(made):
    one, several = (
        drive(made(name, algorithm="fixmatch", threshold=0.0), 2) for name in ("one", "copies")
    )
    assert several.trainer.source.views == 3 and one.trainer.source.views == 1
    np.testing.assert_allclose(head(several), head(one), atol=1e-5)
    ours, theirs = (run.trainer.measure() for run in (several, one))
    np.testing.assert_array_equal(np.unique(ours.ids), np.unique(theirs.ids))
    np.testing.assert_allclose(ours.lam_gradient, theirs.lam_gradient, rtol=1e-3, atol=1e-4)


def test_the_first_targets_are_those_of_the_labels_and_stand_for_a_round(made):
    run = made(weighting="fixed")
    for v in run.trainer.params:
        v.assign(np.random.default_rng(1).normal(size=v.shape))
    drive(run, 1)
    anchors = [v.numpy() for v in run.trainer.algorithm.variables]
    alone = drive(made(algorithm="supervised"), 1)
    np.testing.assert_array_equal(np.vstack([anchors[0], anchors[1][None]]), head(alone))
    first = head(run)
    np.testing.assert_array_equal(head(drive(run, 3)), first, "the same objective")
    np.testing.assert_array_equal(run.trainer.algorithm.variables[0], anchors[0])
    drive(run, 4)
    np.testing.assert_array_equal(run.trainer.algorithm.variables[0], first[:-1])


@pytest.mark.parametrize(
    "weighting", ["zero", "confidence", "single", "shuffled", "random", "oracle"]
)
def test_every_weighting_is_solved(made, weighting):
    run = made(weighting=weighting)
    reports = [event.report for event in run.trainer.steps(3) if event.kind == "train"]
    assert largest_gradient(run) < 1e-5
    used = len(run.trainer.theta.problem(2).features) - 9
    every = run.trainer.store.num_unlabeled
    assert {"zero": used == 0, "oracle": 0 < used < every}.get(weighting, used == every)
    known = run.splits.unlabeled.labels >= 0
    assert reports[-1].keys() == {"loss", "loss_labeled", "loss_unlabeled", "mask_rate"}
    assert weighting != "oracle" or used <= known.sum()


@pytest.mark.parametrize(
    ("options", "killed"),
    [
        ({}, 5),
        ({"validation": "cross_fit", "refit": True, "validation_as_labels": True}, 2),
        ({"refit": True, "weighting": "shuffled"}, 8),
    ],
    ids=["learned", "cross_fit", "refit"],
)
def test_a_run_killed_within_a_round_goes_on_bit_for_bit(made, options, killed):
    run = drive(made(**options), killed)
    state, other = capture(run), made(**options)
    restore(other, killed, state)
    ours, theirs = (capture(drive(one, killed + 2)) for one in (run, other))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def test_a_head_without_a_solution_is_told_what_to_do(made):
    run = made(inner_tolerance=1e-30)
    with pytest.raises(NonFiniteError, match=r"at step 0.*--inner_tolerance.*Raise --weight_decay"):
        drive(run, 1)


def test_the_recipe_and_what_has_no_effect():
    config = make_config(dataset="features:mine.npz", inner="solve")
    assert (config.steps, config.inner_steps, config.lambda_warmup_steps) == (24, 1, 0)
    assert (config.eval_every, config.ramp_steps, config.ema_decay) == (3, 0, 0.0)
    assert (config.inverse_hessian, config.lambda_lr, config.lambda_max) == ("exact", 0.15, 3.0)
    idle = {"learning_rate", "optimizer", "lr_schedule", "labeled_batch", "unlabeled_ratio",
            "ema_decay", "lambda_batch", "infl_fresh_batch"}  # fmt: skip
    assert idle <= set(without_effect(config))
    assert idle.isdisjoint(without_effect(make_config(dataset="features:mine.npz")))
    settings = feature_settings(inner="solve")
    for name in ("steps", "inner_steps", "ramp_steps", "damping", "lambda_lr", "inverse_hessian"):
        assert getattr(settings, name) == getattr(config, name)


REFUSED = [
    {"algorithm": "mixmatch"}, {"head": "mlp"}, {"weight_decay": 0.0}, {"jit": True},
    {"score_every_step": True}, {"stale_w": True}, {"lambda_at_start": True},
    {"inverse_hessian": "unrolled", "solve_iterations": 1}, {"precision": "mixed_float16"},
    {"influence_params": "all"}, {"ramp_steps": 3}, {"ema_decay": 0.5},
    {"algorithm": "uda", "tsa": "linear"}, {"algorithm": "uda", "entropy_coefficient": 0.1},
    {"algorithm": "fixmatch", "interleave": True},
    {"algorithm": "fixmatch", "feature_views": "perturbed"},
]  # fmt: skip


@pytest.mark.parametrize("given", REFUSED, ids=lambda given: ",".join(given))
def test_what_cannot_be_solved_is_refused_by_name(given):
    name = next(n for n in reversed(given) if n != "solve_iterations")
    with pytest.raises(ValueError, match=rf"^--{name} must be .* with --inner=solve: .*Received"):
        make_config(dataset="features:mine.npz", inner="solve", **given)
    with pytest.raises(ValueError, match=rf'^`{name}` must be .* with inner="solve": .*Received'):
        feature_settings(inner="solve", **given)


def test_other_nets_and_several_devices_are_refused():
    for given, name in (({"dataset": "moons"}, "model"),
                        ({"dataset": "features:a.npz", "devices": 2}, "devices")):  # fmt: skip
        with pytest.raises(ValueError, match=f"^--{name} must be .* with --inner=solve"):
            make_config(inner="solve", weight_decay=0.1, **given)


def test_views_that_would_have_to_be_made_are_refused(made):
    with pytest.raises(ValueError, match="`feature_views` must be given with the data, or none"):
        made(algorithm="fixmatch")
    assert made(algorithm="fixmatch", feature_views="none").trainer.source.views == 1
    assert offence(make_config(dataset="features:mine.npz", inner="solve")) is None


def test_the_estimator_solves_too():
    found = arrays()
    model = WeightedSSLClassifier(
        random_state=0, validation="cross_fit", options={"inner": "solve", "steps": 6}
    )
    model.fit(found["x_train"], found["y_train"], found["x_unlabeled"])
    steps = [entry["step"] for entry in model.history_ if entry["kind"] == "train"]
    assert steps == [*range(1, 7), *range(7, 13)], "six solves, and six of the refit"
    assert (model.visits_ == 5).all() and len(np.unique(model.example_weights_)) > 2
    assert model.score(found["x_test"], found["y_test"]) > 0.6


def test_own_recipe_leaves_solves_their_steps(files):
    given = {"dataset": files["plain"], "inner": "solve", "num_labeled": 30, "out": ""}
    config = make_config(**plan(given).options | given)
    assert (config.steps, config.inner_steps, config.inverse_hessian) == (24, 1, "exact")
    assert 0 < config.weight_decay != 0.003 and config.refit and config.cross_fits


def test_a_run_in_place_of_another_is_the_run_that_it_is_alone(made):
    kept = Kept()
    first = drive(kept.in_place_of(made(components=3, seed=1)), 4)
    second = kept.in_place_of(made(components=3, seed=2))
    assert second is first
    ours, alone = (capture(drive(run, 4)) for run in (second, made(components=3, seed=2)))
    for name, value in ours.items():
        np.testing.assert_array_equal(value, alone[name], err_msg=name)
