"""What an option does to a run, and the answers that follow from it."""

import pytest

from experiments.options.config import Config, options_as_json
from experiments.options.effects import effect_of, is_free
from experiments.options.entry import BOOKKEEPING, CONTENT, RESULT, ROUNDING
from experiments.study.plan import options_hash

NAMES = tuple(vars(Config()))


def having(effect):
    return {name for name in NAMES if effect_of(name) == effect}


def test_every_option_has_one_of_four_effects():
    kinds = (RESULT, ROUNDING, BOOKKEEPING, CONTENT)
    assert set.union(*map(having, kinds)) == set(NAMES) and all(map(having, kinds))
    assert having(CONTENT) == {
        *("data_dir", "bert", "back_translation_dir"),
        *("text_column", "label_column", "delimiter", "exclude"),
    }
    assert {"seed", "steps", "eval_every", "measure_noise"} <= having(RESULT)
    assert effect_of("an_option_of_an_older_run") == RESULT


def test_what_a_resumed_run_may_change():
    free = {name for name in NAMES if is_free(name)}
    assert free == {
        "out", "resume", "checkpoint_every", "keep_checkpoints", "log_every", "data_dir", "jit",
        "threads", "id_column", "recipe", "minutes", "workers", "lambda_workers",
        "resume_with_devices", "source",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_study_counts_a_run_by_what_was_computed(name):
    other = options_as_json(Config()) | {name: "another"}
    same = options_hash(other) == options_hash(options_as_json(Config()))
    ignored = {"out", "resume", "keep_checkpoints", "data_dir", "jit", "threads", "id_column"}
    ignored |= {"recipe", "minutes"}  # what followed from them is compared
    ignored |= {"workers", "lambda_workers", "resume_with_devices"}  # the number is compared
    ignored |= {"source"}
    assert same == (name in ignored | {"checkpoint_every", "log_every"})
