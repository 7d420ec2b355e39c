"""`WeightedSSLModel.fit` is Alg. 1: bit for bit the trainer's and a plain loop's, killed or not."""

import csv
import warnings

import fits
import keras
import numpy as np
import pytest
import tensorflow as tf

from ssl_weighting import (
    ExponentialMovingAverage,
    FixMatch,
    LambdaStep,
    LambdaStepSettings,
    MAdam,
    PseudoLabel,
    WeightStore,
    row_weights,
    weighted_objective,
)
from ssl_weighting.bilevel import BilevelSettings, BilevelTrainer
from ssl_weighting.fit.sets import Sets

SIZES = {"unlabeled_ratio": 2, "lambda_batch": 0, "val_batch": 0}


def batches():
    sets = Sets(fits.U, fits.V, None, fits.noisy, None, None, SIZES, 0)
    return sets, sets.batches(*fits.D, fits.BATCH, fits.STEPS, 3)


def same_net(one, two):
    for a, b in zip(one.variables, two.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.path)


@pytest.mark.parametrize(
    ("inside", "params"),
    [
        (fits.norm_and_dropout, "last_layer"),
        pytest.param(tuple, "all", marks=pytest.mark.slow),
    ],
)
def test_fit_is_bit_for_bit_the_trainer(inside, params):
    model = fits.weighted(fits.net(inside), influence_params=params)
    fits.fit(model)

    net = fits.net(inside)
    sets, made = batches()
    store = WeightStore(30, "per_example", MAdam(0.1))
    trainer = BilevelTrainer(
        net, FixMatch(threshold=0.5), keras.optimizers.Adam(0.01), store,
        ExponentialMovingAverage(net.trainable_variables, 0.9), made.source, made.lambda_source,
        lambda k: sets.validation_at(k, made.val_batch), BilevelSettings(inner_steps=4),
        LambdaStepSettings(influence_params=params), jit=False,
    )  # fmt: skip
    for _ in trainer.steps(15):
        pass
    same_net(model.model, net)
    table = model.example_weights()
    np.testing.assert_array_equal(table["lam"], store.table().numpy())
    np.testing.assert_array_equal(table["last_influence"], store.last_influence.numpy())
    assert (table["lam"] != 1).sum() > 10


def test_fit_is_bit_for_bit_a_loop_of_ones_own():
    model = fits.weighted(ema_decay=0.0)
    fits.fit(model)

    net, (sets, made) = fits.net(), batches()
    algorithm, optimizer = FixMatch(threshold=0.5), keras.optimizers.Adam(0.01)
    optimizer.build(net.trainable_variables)
    store = WeightStore(30, "per_example", MAdam(0.1))
    step_on_lambda = LambdaStep(net, algorithm, store)

    @tf.function
    def step_on_theta(labeled, unlabeled, step):
        with tf.GradientTape() as tape:
            rows = algorithm(lambda x: {"logits": net(x, training=True)}, labeled, unlabeled, step)
            lam = store.gather(rows.ids, rows.confidence, 3, step)
            loss = weighted_objective(rows, row_weights(rows, lam))
        gradients = tape.gradient(loss, net.trainable_variables)
        optimizer.apply(gradients, net.trainable_variables)

    for step in range(15):
        if step and step % 4 == 0:
            k = step // 4 - 1
            v = sets.validation_at(k, made.val_batch)
            measured = step_on_lambda.measure(*made.lambda_source.at(k), v, step)
            step_on_lambda.apply(measured)
        step_on_theta(*made.source.at(step), tf.constant(step, tf.int64))
    same_net(model.model, net)
    np.testing.assert_array_equal(model.example_weights()["lam"], store.table().numpy())


class Kill(keras.callbacks.Callback):
    def __init__(self, after):
        super().__init__()
        self.left = after

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def unbroken_fit():
    model = fits.weighted(fits.net(fits.norm_and_dropout))
    history = fits.fit(model, validation_data=fits.V)
    return fits.state(model), history.history


@pytest.mark.parametrize(
    ("save_freq", "killed_after"),
    [(1, 5), *(pytest.param(freq, 8, marks=pytest.mark.slow) for freq in (3, "epoch"))],
)
def test_a_killed_fit_goes_on_bit_for_bit(tmp_path, unbroken_fit, save_freq, killed_after):
    """Step 5 ends an epoch, and step 8 stands before a Lambda-step."""

    def begin(*callbacks):
        model = fits.weighted(fits.net(fits.norm_and_dropout))
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=save_freq)
        return model, lambda: fits.fit(
            model, validation_data=fits.V, callbacks=[backup, *callbacks]
        )

    with pytest.raises(KeyboardInterrupt):
        begin(Kill(killed_after))[1]()
    model, go_on = begin()
    history = go_on().history
    state, before = unbroken_fit
    fits.assert_same(fits.state(model), state)
    assert history["val_loss"][-1] == before["val_loss"][-1]
    assert history["lam_mean"][-1] == before["lam_mean"][-1]


@pytest.mark.slow
def test_a_second_fit_goes_on_where_the_first_ended(unbroken_fit):
    model = fits.weighted(fits.net(fits.norm_and_dropout))
    fits.fit(model, epochs=1)
    fits.fit(model, epochs=3, initial_epoch=1)
    begun = {"first_step", "first_epoch"}
    one, two = (
        {k: v for k, v in s.items() if k not in begun} for s in (fits.state(model), unbroken_fit[0])
    )
    fits.assert_same(one, two)


def test_weights_files_hold_everything_and_refuse_another_u(tmp_path):
    path = tmp_path / "run.weights.h5"
    model = fits.weighted(score_every_step=False)
    fits.fit(model, callbacks=[keras.callbacks.ModelCheckpoint(path, save_weights_only=True)])
    fresh = fits.weighted()
    fresh.load_weights(path)
    fits.assert_same(fits.state(fresh), fits.state(model))
    for other in ({"unlabeled": fits.U[::-1]}, {"weighting": "single"}):
        with pytest.raises(ValueError, match="The file must be of a model with"):
            fits.weighted(**other).load_weights(path)


def test_logs_callbacks_and_the_table_as_file(tmp_path):
    names = [f"photo {u}.jpg" for u in range(30)]
    model = fits.weighted(names=names, options={"metrics": ["accuracy"]})
    callbacks = [
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TensorBoard(tmp_path / "events"),
        keras.callbacks.EarlyStopping("val_loss", patience=9, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("val_loss"),
    ]
    history = fits.fit(model, validation_data=fits.V, callbacks=callbacks).history
    check_table(model, tmp_path)
    lam = model.example_weights()["lam"]
    assert history["lam_mean"][-1] == pytest.approx(lam.mean())
    assert history["lam_std"][-1] == pytest.approx(lam.std())
    assert len(history["loss"]) == 3 and history["loss"][-1] < history["loss"][0]
    assert 0 < history["loss_on_v"][-1] < history["loss_on_v"][0]
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["lam_zero"]) == history["lam_zero"][-1]
    found = model.evaluate(*fits.V, verbose=0, return_dict=True)
    z = model.predict(fits.V[0], verbose=0).astype("f8")
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    assert found["loss"] == pytest.approx(-log_p[np.arange(12), fits.V[1]].mean(), rel=1e-5)
    assert found["accuracy"] == pytest.approx((z.argmax(1) == fits.V[1]).mean())


def check_table(model, folder):
    table = model.example_weights()
    p = keras.ops.softmax(model(fits.U)).numpy()
    np.testing.assert_allclose(table["confidence"], p.max(1), rtol=1e-6)
    mean, error = table["influence_mean"], table["influence_error"]
    known = (mean - 2 * error > 0) & (table["visits"] >= 3)
    np.testing.assert_array_equal(table["suspect"], known)
    assert (table["visits"] > 0).any()
    model.save_example_weights(folder / "a.csv")
    model.save_example_weights(folder / "a.parquet")
    import pandas as pd

    for found in (pd.read_csv(folder / "a.csv"), pd.read_parquet(folder / "a.parquet")):
        assert list(found) == list(table) and found["name"][7] == "photo 7.jpg"
        np.testing.assert_allclose(found["lam"], table["lam"], rtol=1e-6)
    with pytest.raises(ValueError, match=r"`path` must end in .csv or .parquet"):
        model.save_example_weights(folder / "a.txt")


@pytest.mark.slow
def test_evaluation_uses_averages_and_the_net_itself_does_not():
    model = fits.weighted(ema_decay=0.999)
    before = model.predict(fits.V[0], verbose=0)
    fits.fit(model)
    averaged, raw = model.predict(fits.V[0], verbose=0), model.model.predict(fits.V[0], verbose=0)
    assert abs(averaged - before).max() < 0.05 * abs(raw - before).max()


def test_a_view_whose_seed_has_a_default_is_given_one():
    def noisy(x, seed=(1, 2)):
        return fits.noisy(x, seed)

    nets = []
    for view in (fits.noisy, noisy):
        model = fits.weighted(strong=view)
        fits.fit(model, epochs=1)
        nets.append(model.model)
    same_net(*nets)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_early_stopping_brings_back_what_evaluation_uses(ema_decay):
    model = fits.weighted(ema_decay=ema_decay)
    model.optimizer.learning_rate = 0.3
    stop = keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    found = fits.fit(model, epochs=9, validation_data=fits.V, callbacks=[stop]).history["val_loss"]
    assert min(found) < found[-1]
    assert model.evaluate(*fits.V, verbose=0) == pytest.approx(min(found), rel=1e-6)


def as_datasets(seed=1):
    keras.utils.set_random_seed(5)
    labeled = tf.data.Dataset.from_tensor_slices(fits.D).shuffle(9, seed=seed).batch(5)
    views = tf.data.Dataset.from_tensor_slices(fits.U).enumerate()
    views = views.map(lambda u, x: (u, x, x + 0.1)).shuffle(30, seed=seed)
    return labeled, views.repeat().batch(10)


def test_datasets_of_ones_own_train_and_go_on(tmp_path):
    def begin():
        labeled, views = as_datasets()
        model = fits.weighted(unlabeled=views, num_unlabeled=30, strong=None)
        return model, lambda epochs: fits.fit(
            model, labeled, None, epochs, batch_size=None, callbacks=[backup]
        )

    backup = keras.callbacks.BackupAndRestore(tmp_path, save_freq=3, delete_checkpoint=False)
    whole, run = begin()
    run(3)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "b", delete_checkpoint=False)
    begin()[1](1)
    again, go_on = begin()
    go_on(3)
    fits.assert_same(fits.state(again), fits.state(whole))
    table = again.example_weights()
    assert (table["lam"] != 1).sum() > 10 and "pseudo_label" not in table


@pytest.mark.slow
def test_layers_as_views_and_bytes_as_images():
    images = (fits.points(30, 3)[0].repeat(16, 1).reshape(30, 8, 8, 1) * 20).clip(0, 255)
    images = images.astype("uint8")
    keras.utils.set_random_seed(1)
    net = keras.Sequential([
        keras.Input([8, 8, 1]), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(),
        keras.layers.Dense(3),
    ])  # fmt: skip
    model = fits.weighted(
        net, unlabeled=images, validation=(images[:9], np.arange(9) % 3),
        weak=keras.layers.RandomFlip(), strong=keras.layers.RandomRotation(0.1), threshold=0.0,
    )  # fmt: skip
    history = fits.fit(model, images[:6], np.arange(6) % 3).history
    assert np.isfinite(history["loss"]).all()
    assert (model.example_weights()["visits"] > 0).any()


@pytest.mark.parametrize(
    "algorithm",
    [
        "mean_teacher",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("pseudo_label", "vat", "mixmatch")),
    ],
)
def test_base_algorithms_run_by_name(algorithm):
    model = fits.weighted(algorithm=algorithm, infl_bn="moving")
    assert np.isfinite(fits.fit(model, epochs=1).history["loss"]).all()


@pytest.mark.slow
def test_an_algorithm_of_ones_own_and_a_model_with_named_outputs():
    keras.utils.set_random_seed(3)
    inputs = keras.Input([4])
    features = keras.layers.Dense(16, "relu")(inputs)
    logits = keras.layers.Dense(3)(features)
    net = keras.Model(inputs, {"features": features, "logits": logits})
    model = fits.weighted(net, PseudoLabel(threshold=0.0), score_every_step=True)
    fits.fit(model)
    lam = model.example_weights()["lam"]
    assert model.predict(fits.U, verbose=0).shape == (30, 3) and (lam != 1).sum() > 20


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"run_eagerly": True}, {"jit_compile": True}])
def test_eager_and_compiled_by_xla_agree_with_the_graph(options):
    plain, other = fits.weighted(), fits.weighted(options=options)
    for model in (plain, other):
        fits.fit(model, epochs=1)
    for a, b in zip(plain.model.variables, other.model.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-5)
    np.testing.assert_allclose(*(m.example_weights()["lam"] for m in (plain, other)), atol=1e-5)


@pytest.mark.slow
def test_several_theta_steps_in_one_call_change_nothing():
    one, two = fits.weighted(), fits.weighted(options={"steps_per_execution": 2})
    fits.fit(one, steps_per_epoch=6)
    fits.fit(two, steps_per_epoch=6)
    fits.assert_same(fits.state(one), fits.state(two))
    with pytest.raises(ValueError, match="`steps_per_execution` must divide inner_steps"):
        fits.fit(two, steps_per_epoch=5)


def test_half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with pytest.raises(ValueError, match=r"logits in float32. Received: float16"):
            fits.weighted(fits.net())
        model = fits.weighted(fits.net(dtype="float32"))
        history = fits.fit(model).history
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert history["loss"][-1] < history["loss"][0]
    assert (model.example_weights()["lam"] != 1).any()


@pytest.mark.slow
def test_fit_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fits.fit(fits.weighted(), validation_data=fits.V)
