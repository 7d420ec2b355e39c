"""What `WeightedSSLModel` cannot use is met by name before training, with what would do."""

import fits
import keras
import numpy as np
import pytest
import tensorflow as tf

DATASET = tf.data.Dataset.from_tensor_slices((np.arange(30), fits.U, fits.U)).batch(10)
ENDLESS = DATASET.repeat()
BAD = {
    "one-hot validation": ({"validation": (fits.V[0], np.eye(3)[fits.V[1]])}, r"argmax\(axis=1\)"),
    "no validation": ({"validation": None}, "`validation` must be arrays"),
    "empty validation": ({"validation": (fits.V[0][:0], [])}, "at least one example"),
    "label too large": ({"validation": (fits.V[0], fits.V[1] + 1)}, r"must be in 0..2"),
    "unlabeled label": ({"validation": (fits.V[0], fits.V[1] - 1)}, "must be classes from 0"),
    "no example": ({"unlabeled": fits.U[:0]}, "`unlabeled` must be one array of numbers"),
    "not finite": ({"unlabeled": fits.U * np.nan}, "`unlabeled` must be finite"),
    "dict": ({"unlabeled": {"a": fits.U}}, "`unlabeled` must be one array of numbers"),
    "another width": ({"unlabeled": fits.U[:, :3]}, r"must be of shape \[n, 4\]"),
    "view of another shape": ({"strong": lambda x: x[:, :2]}, "what `strong` makes"),
    "no function": ({"weak": 3}, "`weak` must be a function of a batch"),
    "names": ({"names": ["a"] * 30}, "`names` must be 30 different names"),
    "setting": ({"lamda_lr": 1}, r"Settings must be among .*lambda_lr.*Received: \['lamda_lr'\]"),
    "out of range": ({"inner_steps": 0}, "`inner_steps` must be"),
    "method": ({"inverse_hessian": "unrolled"}, "`inverse_hessian` must be another"),
    "weighting": ({"weighting": "oracle"}, "`weighting` must be one of zero, fixed"),
    "another's setting": (
        {"algorithm": "mixmatch", "threshold": 0.9},
        r"The settings of mixmatch must be among .*mixup_beta.*Received: \['threshold'\]",
    ),
    "algorithm": ({"algorithm": "supervised"}, "`algorithm` must be one of pseudo_label"),
    "no teacher": ({"algorithm": "mean_teacher", "ema_decay": 0.0}, "`ema_decay` must be above 0"),
    "no count": ({"unlabeled": DATASET, "strong": None}, "`num_unlabeled` must be given"),
    "views": ({"unlabeled": DATASET, "num_unlabeled": 30}, "must not be given"),
}


@pytest.mark.parametrize("case", BAD)
def test_arguments(case):
    settings, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        fits.weighted(**settings)


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ({"activation": "softmax"}, "Received: probabilities, which sum to 1"),
        ({"activation": "relu"}, "without an activation"),
        ({"dtype": "float16"}, "`model` must return its logits in float32"),
        ({"kernel_regularizer": "l2"}, "no losses of its own.* Received: 1, by a regularizer"),
    ],
)
def test_models(last, message):
    with pytest.raises(ValueError, match=message):
        fits.weighted(fits.net(**last))


def test_a_single_logit():
    net = keras.Sequential([keras.Input([4]), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match=r"of at least two classes.*Dense\(2\)"):
        fits.weighted(net)


def test_fit_and_compile():
    model = fits.weighted(compiled=False)
    with pytest.raises(ValueError, match="`compile` must be called before `fit`"):
        fits.fit(model)
    with pytest.raises(ValueError, match="`loss` must be left out"):
        model.compile("adam", "mse")
    model.compile()
    x, y = fits.D
    for bad, message in (
        ((x, None), "`y` must be the labels"),
        ((x, y + 1), r"`labeled` must be in 0..2"),
        ((x, np.eye(3)[y]), "argmax"),
        ((x[:, :3], y), r"`x` must be of shape \[n, 4\]"),
        ((DATASET, None), "must both be arrays or both be"),
    ):
        with pytest.raises(ValueError, match=message):
            fits.fit(model, *bad)
    for options in ({"batch_size": 0}, {"steps_per_epoch": 0}):
        with pytest.raises(ValueError, match=f"`{next(iter(options))}` must be"):
            fits.fit(model, **options)
    with pytest.raises(TypeError, match="class_weight"):
        fits.fit(model, class_weight={0: 1.0})
    with pytest.raises(NotImplementedError, match="`train_on_batch` must be `fit`"):
        model.train_on_batch(x, y)
    with pytest.raises(NotImplementedError, match="saved by `save_weights`"):
        model.get_config()


def test_datasets_without_end_and_with_foreign_ids():
    model = fits.weighted(unlabeled=ENDLESS, num_unlabeled=30, strong=None)
    labeled = tf.data.Dataset.from_tensor_slices(fits.D).batch(3)
    with pytest.raises(ValueError, match="`steps_per_epoch` must be given"):
        model.fit(labeled, verbose=0)
    model = fits.weighted(unlabeled=ENDLESS, num_unlabeled=29, strong=None)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"`ids` must be in 0..28"):
        model.fit(labeled, steps_per_epoch=3, verbose=0)
