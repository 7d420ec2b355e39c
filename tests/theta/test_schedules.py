"""The learning rates of the recipes at steps worked out by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ssl_weighting.theta.nesterov import NesterovSGD
from ssl_weighting.theta.schedules import (
    SCHEDULES,
    FixMatchCosine,
    FlooredCosine,
    WarmupLinear,
    make_schedule,
)


def rates(schedule, steps):
    return [float(schedule(tf.constant(step, tf.int64))) for step in steps]


def test_uda_of_2019():
    """0.03 over 400,000 steps with a warm-up of 20,000; ends at 0.004 of the peak."""
    schedule = FlooredCosine(0.03, 400_000, 20_000)
    steps = [0, 10_000, 19_999, 20_000, 115_000, 210_000, 400_000, 500_000]
    share = [0, 0.5, 0.99995, 1, 0.996 * 0.8535534 + 0.004, 0.502, 0.004, 0.004]
    np.testing.assert_allclose(rates(schedule, steps), 0.03 * np.array(share), rtol=2e-5)


def test_fixmatch_s_cosine_starts_after_a_warm_up():
    schedule = FixMatchCosine(2.0, 1100, 100)
    found = rates(schedule, [0, 50, 100, 600, 1100, 9999])
    np.testing.assert_allclose(found, [0, 1, 2, 1.5460209, 0.3901806, 0.3901806], rtol=1e-5)
    assert rates(FixMatchCosine(2.0, 1000), [0, 1000]) == pytest.approx([2.0, 0.3901806], rel=1e-5)


def test_text_falls_as_if_there_had_been_no_warm_up():
    schedule = WarmupLinear(2e-5, 10_000, 1_000)
    found = rates(schedule, [0, 500, 999, 1_000, 5_500, 10_000, 10_001])
    expected = [0, 1e-5, 1.998e-5, 1.8e-5, 0.9e-5, 0, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_keeps_its_settings_and_drives_an_optimizer(name):
    schedule = make_schedule(name, 0.5, 40, 4)
    again = type(schedule).from_config(schedule.get_config())
    assert rates(again, range(45)) == rates(schedule, range(45))
    optimizer, variable = NesterovSGD(schedule, 0.0), keras.Variable([1.0])
    optimizer.apply([tf.constant([1.0])], [variable])
    assert float(variable.numpy()[0]) == 1.0, "the first step of a warm-up has rate 0"
    optimizer.apply([tf.constant([1.0])], [variable])
    np.testing.assert_allclose(variable.numpy(), 1 - 0.5 / 4)


def test_constant_is_the_number_itself_and_unknown_names_are_refused():
    assert make_schedule("constant", 0.3, 10, 5) == 0.3
    with pytest.raises(ValueError, match=r"floored_cosine, warmup_linear, constant. .*'step'"):
        make_schedule("step", 0.3, 10)


@pytest.mark.parametrize("warmup", [-1, 10, 11])
def test_a_warm_up_must_end_before_the_run(warmup):
    with pytest.raises(ValueError, match=rf"`warmup_steps` must be in \[0, 10\).*={warmup}$"):
        WarmupLinear(1.0, 10, warmup)
