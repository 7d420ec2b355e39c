"""The rules of own data, without a program: all labels, all of U, in time."""

import pytest

from ssl_weighting.training.own_recipe import (
    MOST,
    Situation,
    TimeTooShort,
    own_recipe,
    planned,
    ridge,
    ridge_of_components,
    seconds,
)


def situation(**more):
    known = {"labels": 300, "least": 30, "classes": 10, "unlabeled": 4000, "width": 1280}
    return Situation(**known | more)


def lambda_steps(found):
    """Return how many Lambda-steps fall due in a phase of theta-steps."""
    return (found["steps"] - found["lambda_warmup_steps"]) // found["inner_steps"]


@pytest.mark.parametrize("unlabeled", [10, 4000, MOST, 60_000, 400_000])
@pytest.mark.parametrize("minutes", [2, 15, 200])
def test_weights_of_four_in_five_examples_are_moved(unlabeled, minutes):
    s = situation(unlabeled=unlabeled, seconds=60.0 * minutes)
    try:
        found = own_recipe(s)
    except TimeTooShort as error:
        assert error.seconds > s.seconds
        own_recipe(situation(unlabeled=unlabeled, seconds=error.seconds))
        return
    batch = s.size_of_u if found["lambda_batch"] == -1 else found["lambda_batch"]
    assert batch <= MOST and lambda_steps(found) * batch >= 0.8 * s.size_of_u
    assert seconds(s, *planned(s)) <= s.seconds


@pytest.mark.parametrize("unlabeled", [10, 4000, 60_000])
def test_batches_that_are_mixed_are_multiples_of_a_group(unlabeled):
    s = situation(unlabeled=unlabeled, group=48)
    found = own_recipe(s)
    batch = found["lambda_batch"]
    assert batch % 48 == 0 < batch <= min(MOST, s.size_of_u)
    assert lambda_steps(found) * batch >= 0.8 * s.size_of_u
    assert own_recipe(situation(labels=20, least=2, unlabeled=10, group=48))["lambda_batch"] == 48


def test_labels_validate_by_what_there_is():
    found = own_recipe(situation())
    assert (found["validation"], found["folds"], found["refit"]) == ("cross_fit", 2, True)
    assert own_recipe(situation(validation=50))["validation"] == "held_out"
    assert own_recipe(situation(validation=50))["val_size"] == 0
    assert own_recipe(situation(held_out=True))["val_size"] == 75
    assert own_recipe(situation(held_out=True, labels=20, least=2))["val_size"] == 10


def test_the_ridge_goes_by_the_number_of_features():
    assert ridge(2000) == 2 * ridge(1000) > ridge(384) > 0


def frozen(**more):
    """With few labels, which is where components are shown."""
    return situation(**{"frozen": True, "labels": 120, "least": 12} | more)


def test_a_frozen_net_s_features_are_shown_by_their_components():
    found = own_recipe(frozen())
    assert found["components"] == 60
    settings = {name: found[name] for name in ("learning_rate", "weight_decay", "wu")}
    assert settings == {"learning_rate": 0.02, "weight_decay": 0.16, "wu": 0.5}
    assert "components" not in own_recipe(situation()), "columns may have different units"
    assert "components" not in own_recipe(frozen(width=100))
    assert "components" not in own_recipe(frozen(linear=False))
    assert own_recipe(frozen(labels=20, least=2, unlabeled=30))["components"] == 25
    assert "components" in own_recipe(frozen(labels=150))
    assert own_recipe(frozen(labels=151)) == own_recipe(situation(labels=151, least=12)), (
        "so many labels hold all features"
    )


def test_components_that_are_asked_for_bring_their_settings():
    of_120 = {"labels": 120, "least": 12}
    assert own_recipe(situation(components=30, **of_120)) == own_recipe(frozen()) | {
        "components": 30
    }
    assert own_recipe(frozen(components=0)) == own_recipe(situation(**of_120))
    of_mlp = own_recipe(situation(components=30, linear=False))
    assert of_mlp["components"] == 30 and "learning_rate" not in of_mlp  # as of all features


def test_the_ridge_of_components_falls_with_the_labels():
    """0.3 (80 / n)^1.5, in two digits: 320 labels have an eighth of it."""
    assert [ridge_of_components(n) for n in (4, 80, 320)] == [0.3, 0.3, 0.037]


def test_wide_features_cost_their_covariance():
    """60 products with 20,000 numbers more for each of 8,240 rows, and the covariance."""
    narrow, wide = (frozen(width=width) for width in (1280, 20_000))
    assert seconds(wide, 300, 15) - seconds(narrow, 300, 15) > 3 * 4120 * 20_000**2 * 4 / 1e10 * 0.9


def test_steps_that_were_asked_for_stay():
    found = own_recipe(situation(steps=77, seconds=1.0))
    assert found["steps"] == 77 and lambda_steps(found) > 10


def test_weights_that_are_not_learned_need_no_settings():
    found = own_recipe(situation(learns=False, uses_unlabeled=False, unlabeled=0))
    assert not {"lambda_lr", "inner_steps", "wu"} & found.keys()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"classes": 1}, "at least two classes"),
        ({"least": 1}, "two labels for training.*1 of the rarest class; .* held out for testing"),
        ({"unlabeled": 0}, "There must be unlabeled examples"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(more, message):
    with pytest.raises(ValueError, match=message):
        own_recipe(situation(**more))


@pytest.mark.parametrize(("unlabeled", "batch"), [(10, 256), (4000, 4288), (60_000, MOST)])
def test_a_batch_may_have_to_go_by_the_labeled_one(unlabeled, batch):
    found = own_recipe(situation(unlabeled=unlabeled, group=64))
    assert found["lambda_batch"] == batch


def test_more_folds_take_more_of_the_time():
    two, ten = (situation(folds=folds, seconds=500.0) for folds in (2, 10))
    assert seconds(ten, 300, 15) > 3 * seconds(two, 300, 15) / 2
    found = own_recipe(ten)
    assert found["folds"] == 10 and found["steps"] < own_recipe(two)["steps"]
    assert seconds(ten, *planned(ten)) <= 500
