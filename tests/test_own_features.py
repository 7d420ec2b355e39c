"""A Lambda-step within a theta-step, on that step's own rows: what it equals, what it costs."""

import keras
import numpy as np
import pytest
from tiny import make_trainer, run

from experiments.options.presets import make_config
from ssl_weighting.bilevel import BilevelSettings
from ssl_weighting.lambda_step import LambdaStepSettings
from ssl_weighting.theta.step import NonFiniteError

OLD = {"inner_steps": 4, "infl_fresh_batch": False, "stale_w": True}


def params(trainer):
    return [p.numpy() for p in trainer.model.trainable_variables]


def pair(**options):
    return [
        make_trainer(settings=BilevelSettings(infl_own_features=own, **OLD | options))
        for own in (True, False)
    ]


@pytest.mark.parametrize("every", [False, True])
def test_without_dropout_it_is_the_step_that_reuses_the_batch(every):
    own, two_passes = pair(score_every_step=every)
    for trainer in (own, two_passes):
        run(trainer, 14)
    assert own.step == two_passes.step == 14 and own.lambda_steps == two_passes.lambda_steps == 3
    for a, b in zip(params(own), params(two_passes), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(own.store.table(), two_passes.store.table(), atol=1e-5)
    assert (own.store.table().numpy() != 1).sum() >= 40


def test_it_tells_what_the_theta_step_was():
    own, two_passes = pair()
    for trainer in (own, two_passes):
        trainer.train(4)
    ours, theirs = own.lambda_step(), two_passes.lambda_step()
    assert ours["train"] == pytest.approx(theirs["train"], rel=1e-5)
    assert ours["validation_loss"] == pytest.approx(theirs["validation_loss"], rel=1e-6)


def test_only_v_passes_through_the_net_for_it():
    trainer, _ = pair()
    passed = []
    layer = next(x for x in trainer.model.layers if isinstance(x, keras.layers.Dense))
    call = layer.call
    layer.call = lambda x, *args, **kwargs: passed.append(x.shape[0]) or call(x, *args, **kwargs)
    trainer.train(4)
    trainer.parameters.check(trainer.validation_at(0).inputs)  # traces the net, once
    passed.clear()
    trainer.lambda_step()
    assert passed == [12 + 20 + 20, 20]  # labeled and both views, then V


def test_a_validation_loss_that_is_not_finite_leaves_lambda():
    trainer, _ = pair()
    trainer.train(4)
    batch = trainer.validation_at(0)
    trainer.validation_at = lambda k: batch._replace(inputs=batch.inputs + float("inf"))
    with pytest.raises(NonFiniteError, match="Lambda-step at step 4"):
        trainer.lambda_step()
    assert (trainer.store.table().numpy() == 1).all()


def test_it_needs_old_weights_and_the_same_batch():
    with pytest.raises(ValueError, match="`infl_own_features` must come with stale_w=True"):
        BilevelSettings(infl_own_features=True)
    with pytest.raises(ValueError, match="`measure_noise` must be off with `infl_own_features`"):
        BilevelSettings(infl_own_features=True, measure_noise=True, **OLD)
    with pytest.raises(ValueError, match="influence_params=last_layer and not with unrolled"):
        make_trainer(
            settings=BilevelSettings(infl_own_features=True, **OLD),
            lambda_settings=LambdaStepSettings(influence_params="all"),
        )
    with pytest.raises(ValueError, match="--infl_own_features needs --infl_fresh_batch=false"):
        make_config(infl_own_features=True)
    options = {"infl_own_features": True, "infl_fresh_batch": False, "stale_w": True}
    assert make_config(**options).infl_own_features
    with pytest.raises(ValueError, match=r"needs one device and .*--measure_noise=true"):
        make_config(**options, measure_noise=True)
    with pytest.raises(ValueError, match="--influence_params=all"):
        make_config(**options, influence_params="all")
