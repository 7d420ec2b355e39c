"""Statistics and views of features: against plain numpy, and pure functions of their keys."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from feature_files import arrays
from scipy import stats

from ssl_weighting.data.examples import DataSplits, Examples
from ssl_weighting.data.features import views
from ssl_weighting.data.features.statistics import (
    Statistics,
    feature_statistics,
    principal_components,
)
from ssl_weighting.data.keyed_random import example_keys, uniform
from ssl_weighting.data.pipeline import BatchSource, ViewsSource

N, D, K = 50, 5, 3
rng = np.random.default_rng(0)
STATISTICS = Statistics(np.array([3.0, -7, 0, 100, 1e-3]), np.array([1.0, 2, 5, 0.1, 1e-3]))


def examples(n, given=False):
    x = rng.normal(size=(n, D)).astype(np.float32)
    stack = rng.normal(size=(n, K, D)).astype(np.float32) if given else None
    return Examples(x, (np.arange(n) % 2).astype(np.int32), views=stack)


def splits(given=False):
    parts = [examples(6), examples(N, given), examples(4), examples(4)]
    return DataSplits("toy", *parts, ("a", "b"), "memory")


def uniforms(count, draws):
    ids = tf.range(count, dtype=tf.int64)
    return uniform(example_keys(1, 2, ids, tf.zeros_like(ids), 1), draws)


def test_statistics_are_of_d_and_u_each_example_once_and_read_no_label():
    found = splits()
    both = found.labeled.joined(found.unlabeled.take(np.arange(10)))
    others = (getattr(found, part) for part in ("unlabeled", "validation", "test"))
    found = DataSplits("toy", both, *others, ("a", "b"), "memory")
    x = np.concatenate([both.inputs[:6], found.unlabeled.inputs]).astype(np.float64)
    mean, std = feature_statistics(found)
    np.testing.assert_allclose(mean, x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(std, x.std(0), rtol=1e-13)


def test_principal_components_are_those_of_an_svd():
    found = splits()
    x = np.concatenate([found.labeled.inputs, found.unlabeled.inputs]).astype(np.float64)
    _, singular, rows = np.linalg.svd(x - x.mean(0), full_matrices=False)
    rows *= np.sign(rows[np.arange(D), np.abs(rows).argmax(1)])[:, None]
    kernel, bias = principal_components(found, K)
    z = x @ kernel + bias
    scale = np.sqrt((singular[:K] ** 2).mean() / len(x))
    np.testing.assert_allclose(z, (x - x.mean(0)) @ rows[:K].T / scale, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(z.var(0).mean(), 1, rtol=1e-12)


def test_components_are_kept_by_what_the_rows_hold():
    found = splits()
    first = principal_components(found, K)
    again = principal_components(found, K)
    assert again.kernel is first.kernel
    with pytest.raises(ValueError, match="read-only"):
        again.kernel[0, 0] = 7.0
    found.unlabeled.inputs[3, 1] += 1.0
    moved = principal_components(found, K)
    assert not np.array_equal(moved.kernel, first.kernel)
    assert principal_components(found, K - 1).kernel.shape == (D, K - 1)
    before = found.unlabeled.inputs[3, 1]
    for shift in range(1, 70):  # more than are kept
        found.unlabeled.inputs[3, 1] = before + shift
        principal_components(found, K)
    found.unlabeled.inputs[3, 1] = before
    np.testing.assert_array_equal(principal_components(found, K).kernel, moved.kernel)


def test_there_are_no_more_components_than_directions():
    parts = [examples(n) for n in (3, 4, 4, 4)]
    for part in parts:
        part.inputs[:, 3:] = part.inputs[:, :2]
    found = DataSplits("toy", *parts, ("a", "b"), "memory")
    assert principal_components(found, 3).kernel.shape == (D, 3)
    with pytest.raises(ValueError, match=r"at most 3: the 7 examples .* vary in no more"):
        principal_components(found, 4)
    with pytest.raises(ValueError, match=r"from 1 to 5, .* Received: count=6"):
        principal_components(found, 6)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_a_constant_feature_has_deviation_1(value):
    parts = [examples(n) for n in (6, N, 4, 4)]
    for part in parts:
        part.inputs[:, 2] = value
    mean, std = feature_statistics(DataSplits("toy", *parts, ("a", "b"), "memory"))
    assert std[2] == 1 and mean[2] == pytest.approx(value) and 0.5 < std[0] < 2


def test_no_deviation_is_less_than_what_the_net_divides_by():
    parts = [examples(n) for n in (6, N, 4, 4)]
    for part in parts:
        part.inputs[:] = 1e-9 * (part.inputs - 100)
    mean, std = feature_statistics(DataSplits("toy", *parts, ("a", "b"), "memory"))
    layer = keras.layers.Normalization(mean=mean, variance=std**2)
    x = parts[0].inputs
    np.testing.assert_allclose(layer(x), Statistics(mean, std).of(x), atol=1e-6)


def test_perturbed_views_are_dropout_and_noise_of_their_draws():
    x = (STATISTICS.mean + STATISTICS.std * rng.normal(size=(N, D))).astype(np.float32)
    made = views.perturbed(STATISTICS, dropout=0.3, noise=0.5)
    u = uniforms(N, made.strong_draws)
    assert made.strong_draws == D + 6
    first, second = u.numpy()[:, D : D + 3].astype(float), u.numpy()[:, D + 3 :].astype(float)
    radius = np.sqrt(-2 * np.log(1 - first))
    normal = np.c_[radius * np.cos(2 * np.pi * second), radius * np.sin(2 * np.pi * second)][:, :D]
    kept = (u.numpy()[:, :D] >= 0.3) / 0.7
    expected = STATISTICS.mean + kept * (x - STATISTICS.mean) + 0.5 * STATISTICS.std * normal
    scaled = (made.strong(x, u).numpy() - expected) / STATISTICS.std
    assert np.abs(scaled).max() < 1e-3  # float32 at 100 +- 0.1
    np.testing.assert_array_equal(made.weak(x, u[:, :0]), x)


def test_perturbed_views_have_the_moments_that_their_options_name():
    made = views.perturbed(Statistics(np.zeros(D), np.ones(D)), dropout=0.25, noise=0.5)
    x = np.full((8000, D), 2.0, np.float32)
    view = made.strong(x, uniforms(8000, made.strong_draws)).numpy().astype(float)
    variance = 4 * (1 / 0.75 - 1) + 0.25
    error = 4 * np.sqrt(variance / 8000)
    assert np.abs(view.mean(0) - 2).max() < error
    np.testing.assert_allclose(view.var(0), variance, rtol=0.08)
    noise = views.perturbed(Statistics(np.zeros(D), np.ones(D)), dropout=0, noise=1)
    drawn = noise.strong(0 * x, uniforms(8000, noise.strong_draws)).numpy()
    assert min(stats.kstest(drawn[:, k], "norm").pvalue for k in range(D)) > 1e-3
    assert np.abs(np.corrcoef(drawn.T) - np.eye(D)).max() < 0.06


def test_nothing_dropped_and_no_noise_is_the_example():
    x = rng.normal(size=(N, D)).astype(np.float32)
    made = views.perturbed(Statistics(np.zeros(D), np.ones(D)), dropout=0, noise=0)
    np.testing.assert_array_equal(made.strong(x, uniforms(N, made.strong_draws)), x)


def test_mixed_views_are_mostly_the_example_and_a_row_of_u():
    pool, x = (rng.normal(size=(n, D)).astype(np.float32) for n in (N, 7))
    made = views.mixed(pool, most=0.4)
    u = uniforms(7, 2)
    a, others = 0.4 * u.numpy()[:, 1:], pool[(u.numpy()[:, 0].astype(float) * N).astype(int)]
    np.testing.assert_allclose(made.strong(x, u), (1 - a) * x + a * others, atol=1e-6)
    rows = (uniforms(4000, 2).numpy()[:, 0] * N).astype(int)
    assert set(rows) == set(range(N))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: views.perturbed(STATISTICS, 1.0, 0.1), r"`dropout` must be in \[0, 1\)"),
        (lambda: views.perturbed(STATISTICS, 0.1, -1), "`noise` must be >= 0"),
        (lambda: views.perturbed(STATISTICS, 0.1, np.nan), "`noise` must be >= 0"),
        (lambda: views.mixed(np.zeros([3, 2], "f"), 0.6), r"`most` must be in \[0, 0.5\]"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_made_views_are_keyed_by_id_and_visit():
    made = splits()
    statistics = feature_statistics(made)
    for augmentation in (
        views.perturbed(statistics, 0.2, 0.2),
        views.mixed(made.unlabeled.inputs, 0.4),
    ):
        small = BatchSource(made, 4, 10, 3, augmentation)
        whole = BatchSource(made, 4, N, 3, augmentation)
        _, all_of_them = whole.at(1)
        by_id = dict(zip(all_of_them.ids.numpy().tolist(), all_of_them.strong.numpy(), strict=True))
        for step in range(5, 10):  # the second epoch, ten at a time
            _, batch = small.at(step)
            np.testing.assert_array_equal(batch.weak, made.unlabeled.inputs[batch.ids])
            for one, strong in zip(batch.ids.numpy(), batch.strong.numpy(), strict=True):
                # Vectorised logarithms round by their place in a batch.
                np.testing.assert_allclose(strong, by_id[int(one)], atol=1e-6)
                assert not np.array_equal(strong, made.unlabeled.inputs[one])
        _, first = whole.at(0)
        order = np.argsort(first.ids), np.argsort(all_of_them.ids)
        assert not np.allclose(first.strong.numpy()[order[0]], all_of_them.strong.numpy()[order[1]])


def test_given_views_are_shown_in_turn():
    made = splits(given=True)
    source = ViewsSource(made, 4, N, 3, made.unlabeled.views)
    for visit in range(2 * K):
        labeled, batch = source.at(visit)
        np.testing.assert_array_equal(batch.weak, made.unlabeled.inputs[batch.ids])
        np.testing.assert_array_equal(batch.strong, made.unlabeled.views[batch.ids, visit % K])
        rows = {row.tobytes() for row in made.labeled.inputs}
        assert {row.tobytes() for row in labeled.inputs.numpy()} <= rows


def test_views_of_another_shape_are_refused():
    x = arrays()["x_train"]
    labels = np.zeros(len(x), np.int32)
    for wrong in (x, x[:, None, :5], x[:9, None], x[:, None][:, :0], x[:, None].astype(float)):
        with pytest.raises(ValueError, match=r"`views` must be a float32 array \[n, K, \.\.\.\]"):
            Examples(x, labels, views=wrong)
    with pytest.raises(ValueError, match="`views` must be finite"):
        Examples(x, labels, views=np.full_like(x[:, None], np.nan))
