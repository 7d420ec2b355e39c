"""Files of weights that earlier versions of `WeightedSSLModel` saved are read, and go on."""

import fits
import keras
import numpy as np
import pytest


def scoring():
    """Return a model that scores every step, and so shows its features."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input([4])
    features = keras.layers.Dense(16, "relu")(inputs)
    outputs = {"features": features, "logits": keras.layers.Dense(3)(features)}
    return fits.weighted(keras.Model(inputs, outputs), score_every_step=True)


def test_counters_in_integers_and_a_file_that_does_not_know_since_when():
    model = scoring()
    fits.fit(model, epochs=2)
    loop = model._loop
    now = loop.state()
    scores = loop.trainer.scores
    names = {id(v): name for name, v in loop._variables.items()}
    visits, count, since = (
        names[id(v)] for v in (loop.trainer.store.visits, scores.count, scores.since)
    )
    assert now[visits].any() and now[count].any() and now[since] > 0
    old = {k: v.astype("int32") if k in (visits, count) else v for k, v in now.items()}
    del old[since]
    scores.count.assign(np.zeros(30))
    loop.restore(old)
    back = loop.state()
    assert int(back.pop(since)) == -1 and loop.trainer.met() is None
    for name, values in back.items():
        assert values.dtype == now[name].dtype
        np.testing.assert_array_equal(values, now[name])
    del old[visits]
    with pytest.raises(ValueError, match=f"{visits}: nothing instead of"):
        loop.restore(old)
    assert model.example_weights()["visits"].dtype == np.int32


def test_scores_of_batches_of_another_size_are_found():
    """Which ids wait follows from the batches that the call before had, and not from these."""
    model = scoring()
    fits.fit(model, epochs=1)
    scores = model._loop.trainer.scores
    assert scores.count.numpy().any() and scores.since.numpy() == 4
    fits.fit(model, epochs=1, batch_size=2, steps_per_epoch=4)
    assert scores.since.numpy() == 8
    count, total = scores.count.numpy(), scores.total.numpy()
    assert count.sum() == 4 and not total[count == 0].any()
