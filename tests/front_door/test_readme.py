"""The README and the pages keep their promises: presets table, links, commands, example."""

import re
import shlex

import numpy as np
import pytest
from places import ROOT

from experiments.options.config import Config
from experiments.options.presets import PRESETS, make_config

README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "third_party" / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_linked_file_exists(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


def test_the_readme_links_every_page_of_docs():
    pages = [page for page in PAGES if page.parent == ROOT / "docs"]
    assert len(pages) >= 4
    assert not [page for page in pages if f"](docs/{page.name})" not in README]


def test_every_command_names_a_program_and_flags_that_exist():
    commands = [c for c in README.replace("\\\n", " ").splitlines() if "-m experiments." in c]
    assert len(commands) >= 6
    for command in commands:
        words = shlex.split(command, comments=True)
        module = words[words.index("-m") + 1]
        source = (ROOT / (module.replace(".", "/") + ".py")).read_text()
        if "define_inputs(" in source:
            source += (ROOT / "experiments" / "serving" / "wanted.py").read_text()
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


def _example(text):
    codes = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (code,) = (code for code in codes if "WeightedSSLModel" in code)
    return code


@pytest.mark.parametrize(
    "page", ["README.md", pytest.param("docs/keras.md", marks=pytest.mark.slow)]
)
def test_the_keras_example_runs_as_printed(page, tmp_path, monkeypatch):
    code = _example((ROOT / page).read_text())
    lines = [line for line in code.splitlines() if line.strip()]
    assert page != "README.md" or len(lines) <= 25
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    table = names["weighted"].example_weights()
    assert (table["lam"] != 1).sum() >= 300 and np.isfinite(table["lam"]).all()
    if page == "README.md":
        assert (tmp_path / "weights.csv").read_text().count("\n") == 1001
        assert (tmp_path / "model.keras").exists() and not (tmp_path / "backup").exists()
