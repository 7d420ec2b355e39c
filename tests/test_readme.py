"""The README keeps its promises: presets table, paths, commands, paper objects."""

import re
import shlex
from pathlib import Path

import pytest

from experiments.config import Config
from experiments.presets import PRESETS, make_config

ROOT = Path(__file__).parents[1]
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


def test_presets_table_has_every_row_from_1_to_24_and_both_presets_the_same_options():
    numbers = [int(n) for n in re.findall(r"^\| (\d+) \|", README, re.M)]
    assert sorted(set(numbers)) == list(range(1, 25))
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
