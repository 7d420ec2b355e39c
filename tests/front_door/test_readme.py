"""The README keeps its promises: presets table, paths, commands, paper objects."""

import re
import shlex

import numpy as np
import pytest
from places import ROOT

from experiments.options.config import Config
from experiments.options.presets import PRESETS, make_config

README = (ROOT / "README.md").read_text()


def presets_table():
    """Flag -> (paper cell, released cell)."""
    what = r"[^|]*(?:\\\|[^|]*)*"
    row = rf"^\| \d+ \|{what}\| (`--\w+`) \| ([^|]*) \| ([^|]*) \|$"
    rows = re.findall(row, README, re.M)
    return {flag.strip("`-"): (paper, released) for flag, paper, released in rows}


@pytest.mark.parametrize("option", sorted(PRESETS["paper"]))
def test_presets_table_gives_both_columns_as_they_are(option):
    cells = presets_table()[option]
    for cell, preset in zip(cells, ("paper", "released"), strict=True):
        value = PRESETS[preset][option]
        word = cell.split()[0]
        if isinstance(value, bool):
            assert word == str(value).lower()
        elif isinstance(value, float):
            assert float(word) == value
        else:
            assert word == str(value)


def test_presets_table_has_every_row_from_1_to_25_and_both_presets_the_same_options():
    numbers = [int(n) for n in re.findall(r"^\| (\d+) \|", README, re.M)]
    assert sorted(set(numbers)) == list(range(1, 26))
    assert PRESETS["paper"].keys() == PRESETS["released"].keys()
    assert set(presets_table()) <= set(vars(Config()))


def test_inner_steps_and_warm_up_are_what_the_table_says():
    expected = (("fixmatch", 512, 0), ("uda", 100, 20_000), ("pseudo_label", 100, 0))
    for algorithm, n, warm_up in expected:
        config = make_config(algorithm=algorithm)
        assert (config.inner_steps, config.lambda_warmup_steps) == (n, warm_up)
    assert make_config(preset="released").inner_steps == 100


def test_every_linked_file_exists():
    links = re.findall(r"\]\(((?!http)[^)#]+)\)", README)
    assert len(links) > 10
    assert not [link for link in links if not (ROOT / link).exists()]


def test_every_command_names_a_program_and_flags_that_exist():
    commands = [c for c in README.replace("\\\n", " ").splitlines() if "-m experiments." in c]
    assert len(commands) >= 6
    for command in commands:
        words = shlex.split(command, comments=True)
        module = words[words.index("-m") + 1]
        source = (ROOT / (module.replace(".", "/") + ".py")).read_text()
        for word in words:
            if word.startswith("--"):
                name = word[2:].split("=")[0]
                assert name in vars(Config()) or f'"{name}"' in source, command


def test_first_screen_has_the_command_the_picture_and_the_paper_to_code_table():
    first = "\n".join(README.splitlines()[:40])
    for needed in ("./run_all.sh", "![", "Eq. 6", "Alg. 1", "Alg. 2"):
        assert needed in first


def test_nothing_is_left_to_be_filled_in():
    assert not re.search(r"^[A-Z]+$", README, re.M)


def test_the_library_example_runs_as_written():
    import tensorflow as tf

    from ssl_weighting.structs import UnlabeledBatch

    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    lines = [line for line in code.splitlines() if line.strip()]
    assert len([line for line in lines if "import " not in line]) <= 20
    rng = np.random.default_rng(0)
    centres = 2 * rng.normal(size=[3, 4])
    y, y_validation, hidden = (rng.integers(0, 3, n).astype("i4") for n in (9, 12, 30))
    x, x_validation, x_unlabeled = (
        tf.constant(centres[k] + rng.normal(size=[len(k), 4]), tf.float32)
        for k in (y, y_validation, hidden)
    )

    def views(step):
        ids = tf.constant((10 * step + np.arange(10)) % 30)
        one = tf.gather(x_unlabeled, ids)
        return UnlabeledBatch(ids, one, one + 0.3 * tf.random.stateless_normal([10, 4], [step, 1]))

    names = dict(locals())
    exec(code, names)
    assert np.isfinite(names["measured"].lam_gradient).all()
    assert (names["store"].table().numpy() != 1).sum() >= 10
