"""CTAugment in training: probes, live and published rates, resuming, what the options refuse."""

import dataclasses

import numpy as np
import pytest
import runs
import tensorflow as tf
from runs import DIGITS, Killed, Workshop, after, at_line, lines
from ssl_weighting_upstream import fixmatch_ctaugment as cta
from ssl_weighting_upstream import uda_randaugment

from experiments.assemble import build as building
from experiments.compare_runs import differences, newest_checkpoint
from experiments.options.config import Config
from experiments.options.deviations import deviations
from experiments.options.effects import refuse_without_effect
from experiments.options.presets import make_config
from ssl_weighting.data.images.augmentation import Augmentation, clean_view
from ssl_weighting.data.images.pixel_statistics import pixel_statistics
from ssl_weighting.data.pipeline import BatchSource
from ssl_weighting.theta.ctaugment_rates import CtaRates

CTA = DIGITS | {
    "strong_augment": "ctaugment", "steps": 8, "eval_every": 8,
    "checkpoint_every": 5, "log_every": 3,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def published_every_four_steps():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Config, "publish_every", 4)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(folder, workshop) of a run that nobody stopped."""
    folder, workshop = tmp_path_factory.mktemp("cta"), Workshop(own_sources=True)
    runs.run(folder, workshop, **CTA)
    return folder, workshop


def test_killed_and_resumed_equals_unbroken(trained, tmp_path, monkeypatch):
    """It goes on from step 5, where the rates have moved on since the last publication, at 4."""
    folder, workshop = trained
    with monkeypatch.context() as patched:
        at_line("train", 6, after)(patched)
        with pytest.raises(Killed):
            runs.run(tmp_path, workshop, **CTA)
    step, state = newest_checkpoint(tmp_path)
    live, published = (state[f"cta_rates/000{k}/{n}"] for k, n in enumerate(["live", "published"]))
    assert step == 5 and (live != published).any() and (published != cta.initial_rates()).any()
    runs.run(tmp_path, workshop, **CTA)
    assert differences(folder, tmp_path) == []


def test_rates_are_checkpointed_and_logged_and_published_every_four_steps(trained):
    folder, _ = trained
    _, state = newest_checkpoint(folder)
    live, published = (state[f"cta_rates/000{k}/{n}"] for k, n in enumerate(["live", "published"]))
    assert (live != published).any() and (published != cta.initial_rates()).any()
    train = [line for line in lines(folder) if line["kind"] == "train"]
    means = [line["cta_rate_mean"] for line in train]
    assert means == sorted(means, reverse=True) and means[-1] < means[0] < 1
    assert train[-1]["cta_rate_min"] == live[cta.EXISTS].min()
    assert {line["cta_bins_cut"] for line in train} == {0.0}  # 0.798 takes 22 misses of one bin
    assert {4, 8} <= {line["step"] for line in train}


def test_a_theta_step_moves_the_rates_by_the_averaged_network(trained):
    _, workshop = trained
    run = workshop.build(make_config(out="", **CTA), workshop.run.splits)
    trainer = run.trainer
    trainer.train(1)
    labeled, _ = trainer.source.at(0)
    logits = run.evaluator.logits(labeled.probe.inputs.numpy(), preprocessed=True)
    omega = tf.nn.softmax(logits).numpy()[np.arange(len(logits)), labeled.label]
    expected = cta.update_rates(
        tf.constant(cta.initial_rates()), labeled.probe.op, labeled.probe.level, tf.constant(omega)
    )
    np.testing.assert_allclose(trainer.rates.live.value, expected, rtol=1e-5)
    np.testing.assert_array_equal(trainer.rates.published(), cta.initial_rates())


def test_batches_read_published_rates_once_an_iterator():
    splits = building.load_splits(make_config(dataset="digits", num_labeled=20, val_size=40))
    rates = CtaRates(3)
    source = BatchSource(
        splits, 4, 8, 0, Augmentation.ctaugment(False, rates.published, probes=True)
    )
    batches = source.dataset()
    old = source.at(1)
    rates.live.assign(cta.initial_rates() * np.linspace(0, 1, 17, dtype=np.float32))
    assert [rates.publish_if_due(step) for step in (0, 1, 2, 3)] == [False, False, False, True]
    for ahead, made in zip(batches.skip(1), [old], strict=False):
        tf.nest.map_structure(np.testing.assert_array_equal, ahead, made)
    new = source.at(1)
    assert np.any(new[1].strong != old[1].strong)
    np.testing.assert_array_equal(new[1].weak, old[1].weak)
    np.testing.assert_array_equal(new[0].inputs, old[0].inputs)
    tf.nest.map_structure(np.testing.assert_array_equal, new[0].probe, old[0].probe)
    assert source.strong_views(np.arange(3)).shape == [3, *splits.labeled.inputs.shape[1:]]
    policy = new[0].probe
    assert policy.inputs.shape == new[0].inputs.shape and policy.level.shape == [4, 2, 2]


def test_publications_and_bad_periods():
    rates = CtaRates(8)
    assert [rates.next_publication(step) for step in (0, 7, 8, 9)] == [8, 8, 16, 16]
    with pytest.raises(ValueError, match=r"`publish_every` must be >= 1 and a whole"):
        CtaRates(0)
    low = cta.initial_rates()
    low[cta.OPS.index("rotate"), 0, :4] = 0.5
    rates.live.assign(low)
    found = rates.statistics()
    assert found["cta_rate_min"] == 0.5
    np.testing.assert_allclose(found["cta_bins_cut"], 4 / 303)
    np.testing.assert_allclose(found["cta_rate_mean"], 1 - 2 / 303, rtol=1e-6)


@pytest.mark.parametrize(
    "algorithm, flags, expected, labeled",
    [
        ("fixmatch", {}, "fixmatch", False),
        ("uda", {}, "uda", False),
        ("remixmatch", {}, "ctaugment", True),
        ("remixmatch", {"strong_augment": "weak"}, "weak", False),
        ("mixmatch", {}, "weak", False),
        ("fixmatch", {"strong_augment": "ctaugment"}, "ctaugment", False),
        ("remixmatch", {"strong_augment": "ctaugment"}, "ctaugment", True),
        ("mixmatch", {"strong_augment": "ctaugment", "cta_update": False}, "ctaugment", True),
    ],
)
def test_strong_views_of_a_run(algorithm, flags, expected, labeled):
    config = make_config(dataset="digits", algorithm=algorithm, **flags)
    splits = building.load_splits(make_config(dataset="digits", num_labeled=20, val_size=40))
    made = building.augmentation_of(config, splits, building.rates_of(config))
    assert made.name == expected and (made.labeled is not None) == labeled
    assert (made.probe is not None) == (expected == "ctaugment" and config.cta_update)
    assert (made.weak is made.strong) == (expected == "weak" or algorithm == "mixmatch")


def test_what_the_options_say_and_refuse(monkeypatch):
    live = make_config(strong_augment="ctaugment")
    assert deviations(live) == [], "every four steps, as upstream"
    monkeypatch.setattr(Config, "publish_every", 5)
    (lag,) = deviations(live)
    assert lag.startswith("DEVIATION: ") and "rates that are up to 5 steps old" in lag
    assert deviations(make_config(strong_augment="randaugment")) == []
    mixing = {"algorithm": "mixmatch", "strong_augment": "ctaugment"}
    assert make_config(**mixing).mixup_beta == 0.75, "upstream's file with CTAugment"
    assert make_config(**mixing, mixup_beta=0.4).mixup_beta == 0.4
    assert make_config(algorithm="mixmatch").mixup_beta == 0.5
    frozen = dataclasses.replace(live, cta_update=False)
    assert "DEVIATION: cta_update False instead of True" in deviations(frozen)
    assert not make_config(preset="released", strong_augment="ctaugment").learns_rates
    for algorithm in ("mixmatch", "remixmatch"):  # the release freezes the rates of FixMatch alone
        options = {"strong_augment": "ctaugment"} if algorithm == "mixmatch" else {}
        assert make_config(preset="released", algorithm=algorithm, **options).learns_rates
    assert deviations(make_config(algorithm="uda")) == []
    for config, name in (
        (make_config(), "cta_update"),
        (make_config(algorithm="vat"), "strong_augment"),
    ):
        with pytest.raises(ValueError, match=f"--{name} would do nothing here"):
            refuse_without_effect(config, [name])
    refuse_without_effect(live, ["strong_augment", "cta_update"])
    with pytest.raises(ValueError, match=r"--inverse_hessian=unrolled .* --cta_update=false"):
        make_config(strong_augment="ctaugment", inverse_hessian="unrolled")
    assert not make_config(dataset="svhn_cropped").flip and make_config(dataset="cifar10").flip


def test_statistics_of_a_set_are_those_of_its_unlabeled_images():
    splits = building.load_splits(make_config(dataset="digits", num_labeled=20, val_size=40))
    found = pixel_statistics("digits", splits.unlabeled.inputs)
    images = splits.unlabeled.inputs / 255
    np.testing.assert_allclose(found.mean, images.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(found.std, images.std(axis=(0, 1, 2)))
    color = np.zeros([2, 4, 4, 3], np.uint8)
    assert pixel_statistics("cifar10", color) == uda_randaugment.CIFAR10
    assert pixel_statistics("own", color).std == (1 / 255,) * 3


def test_an_own_archive_called_cifar10_is_scaled_by_its_own_pixels(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 100, [60, 8, 8, 3]).astype(np.uint8)
    labels = np.arange(60) % 3
    path = tmp_path / "cifar10.npz"
    np.savez(path, x_train=images, y_train=labels, x_test=images[:9], y_test=labels[:9])
    config = make_config(
        dataset=f"npz:{path}", algorithm="uda", num_labeled=6, val_size=6, depth=10, width=1,
        labeled_batch=3, steps=10, lambda_warmup_steps=1, inner_steps=2, image_size=0,
    )  # fmt: skip
    splits = building.load_splits(config)
    assert splits.name == "cifar10"
    layer = building.build(config, splits).evaluator.model.get_layer("standardize")
    scaled = np.asarray(layer(clean_view(splits.unlabeled.inputs)))
    np.testing.assert_allclose(scaled.std(axis=(0, 1, 2)), 1, rtol=1e-4)
    np.testing.assert_allclose(scaled.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    views = building.augmentation_of(config, splits, None)
    assert views.name == "uda"
