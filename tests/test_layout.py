"""The repository keeps to its layout: floors, sizes, names, docstrings, shell syntax.

Every rule is also shown a snippet that breaks it, for a check that cannot fail is no check.
"""

import shutil
import subprocess
from functools import cache
from pathlib import Path

import layout_floors as floors
import layout_rules as rules
import pytest
from conftest import LONGEST
from layout_rules import Source
from repository import ROOT, repository_files

TEXT_SUFFIXES = {".py", ".sh", ".md", ".toml", ".lock", ".txt", ".cfg", ".html", ".svg", ""}


@cache
def text_files(root: Path = ROOT) -> tuple[Path, ...]:
    paths = (root / name for name in repository_files(root))
    return tuple(path for path in paths if path.is_file() and path.suffix in TEXT_SUFFIXES)


@cache
def sources(root: Path = ROOT) -> tuple[Source, ...]:
    return tuple(
        Source(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
        for path in text_files(root)
        if path.suffix == ".py"
    )


def modules_of(found: tuple[Source, ...]) -> frozenset[str]:
    return frozenset(source.module for source in found)


def shell_scripts() -> list[Path]:
    return [path for path in text_files() if path.suffix == ".sh" or path.parent.name == ".ci"]


def bash_errors(text: str) -> str:
    return subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True).stderr


def expect_none(findings) -> None:
    """Fail with every finding on its own line; pytest would show the first one only."""
    if lines := list(findings):
        pytest.fail("\n".join(lines), pytrace=False)


def test_all_rooms_are_read():
    rooms = {source.room for source in sources()}
    assert {*rules.ROOMS, "tests", "setup.py"} <= rooms
    assert {ROOT / "run_all.sh", ROOT / "tests" / "run.sh", ROOT / ".ci" / "run"} <= {
        *shell_scripts()
    }


@pytest.mark.parametrize("rule", rules.FILE_RULES, ids=lambda rule: rule.__name__)
def test_files_keep_the_rule(rule):
    expect_none(finding for source in sources() for finding in rule(source))


def test_every_file_has_its_place():
    expect_none(finding for path in repository_files() for finding in rules.check_places(path))


def test_longest_test_files_exist():
    assert {*LONGEST} <= {Path(path).stem for path in repository_files() if path[:6] == "tests/"}


def test_imports_go_downwards():
    modules = modules_of(sources())
    expect_none(finding for s in sources() for finding in floors.check_floors(s, modules))


def test_every_sideways_exception_is_used():
    modules = modules_of(sources())
    used = {(s.module, name) for s in sources() for _, name in floors.own_imports(s, modules)}
    assert used >= rules.SIDEWAYS


def test_no_import_cycles():
    expect_none(floors.check_cycles(sources(), modules_of(sources())))


def test_paper_objects_open_one_docstring_each():
    expect_none(rules.check_paper_objects(sources()))


def test_no_machine_paths_and_hosts():
    found = []
    for path in text_files():
        text = path.read_text(encoding="utf-8")
        found += rules.check_text(path.relative_to(ROOT).as_posix(), text)
    expect_none(found)


def test_shell_scripts_parse():
    errors = [(path, bash_errors(path.read_text(encoding="utf-8"))) for path in shell_scripts()]
    expect_none(f"{path}: {error}" for path, error in errors if error)


@pytest.mark.parametrize("git", [True, False])
def test_a_new_folder_is_read(git, tmp_path):
    texts = {
        ".gitignore": "# caches\n.venv*/\n\nresults/\n",
        "helpers2/a.py": "try:\n    assert True\nexcept:\n    pass\n",
        "helpers2/b.json": "{}",
        "c d.txt": "",
        ".venv-gpu/lib/e.py": "assert True\n",
        "tests/results/f.py": "assert True\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    if git:
        if not shutil.which("git"):
            pytest.skip("git is not installed")
        subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert (
        " ".join(repository_files(tmp_path)) == ".gitignore c d.txt helpers2/a.py helpers2/b.json"
    )
    findings = [text for source in sources(tmp_path) for text in rules.check_statements(source)]
    assert [text[:15] for text in sorted(findings)] == ["helpers2/a.py:2", "helpers2/a.py:3"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("helpers2/a.py", "helpers2/ is no folder of this repository"),
        (".github/workflows/a.yml", ".github/ is no folder of this repository"),
        ("stray.py", "stray.py stands at the top of ./"),
        ("run", "run stands at the top of ./"),
        (".ci/run.py", "run.py stands at the top of .ci/"),
        (".ci/jobs/run", ".ci/jobs/ is no room"),
        ("docs/a.md", "a.md stands at the top of docs/"),
        ("docs/old/a.md", "docs/old/ is no room"),
        ("ssl_weighting/a.py", "a.py stands at the top of ssl_weighting/"),
        ("ssl_weighting/losses", "losses stands at the top of ssl_weighting/"),
        ("ssl_weighting/junk/a.json", "ssl_weighting/junk/ is no room"),
        ("ssl_weighting/utils/a.py", "ssl_weighting/utils/ is no room"),
        ("ssl_weighting/data/old/a.py", "ssl_weighting/data/old/ is no room"),
        ("experiments/a.py", "a.py stands at the top of experiments/"),
        ("experiments/stray.sh", "stray.sh stands at the top of experiments/"),
        ("third_party/a.py", "a.py stands at the top of third_party/"),
        ("tests/test_a.py", "test_a.py stands at the top of tests/"),
        ("tests/utils/test_a.py", "tests/utils/ is no room"),
        ("tests/x2/n.txt", "tests/x2/ is no room"),
    ],
)
def test_places_find_what_is_wrong(path, message):
    (finding,) = rules.check_places(path)
    assert finding.startswith(f"{path}:1: {message}")


@pytest.mark.parametrize(
    "path",
    [
        "setup.py",
        "README.md",
        "requirements-gpu.lock",
        ".gitignore",
        ".ci/run",
        "docs/recipes.md",
        "docs/study/figures/a.png",
        "ssl_weighting/madam.py",
        "ssl_weighting/theta/a.py",
        "experiments/python.sh",
        "experiments/cells/a.sh",
        "third_party/README.md",
        "third_party/ssl_weighting_upstream/a.md",
        "tests/run.sh",
        "tests/data/images/test_a.py",
        "tests/models/a.npz",
    ],
)
def test_places_accept_what_is_right(path):
    assert list(rules.check_places(path)) == []


UPSTREAM = "third_party/ssl_weighting_upstream"
BAD_FILES = [
    (rules.check_flags, "ssl_weighting/data/a.py", "from absl import flags\n", "absl.flags"),
    (rules.check_flags, "ssl_weighting/a.py", "def f():\n    import absl.flags\n", "absl.flags"),
    (rules.check_flags, "third_party/a.py", "from absl.flags import FLAGS\n", "absl.flags"),
    (rules.check_private_names, "tests/a.py", "from tensorflow.python import x\n", "private name"),
    (rules.check_private_names, "tests/a.py", "import keras.src.layers\n", "private name"),
    (rules.check_private_names, "tests/a.py", "from keras import _api\n", "private name"),
    (rules.check_private_names, "tests/a.py", "tf.nn._helper(1)\n", "tf.nn._helper"),
    (rules.check_private_names, "tests/a.py", "tf.python.ops.f()\n", "tf.python"),
    (rules.check_private_names, "tests/a.py", "keras.src.x()\n", "keras.src"),
    (rules.check_statements, "tests/a.py", "try:\n    f()\nexcept:\n    pass\n", "a.py:3: bare"),
    (rules.check_statements, "experiments/a.py", "assert True\n", "assert outside"),
    (rules.check_sizes, "tests/a.py", "x = 1\n" * 351, "351 lines in the file"),
    (rules.check_sizes, "tests/a.py", "def f():\n" + "    x = 1\n" * 41, "41 lines in f"),
    (rules.check_docstrings, "ssl_weighting/a.py", "x = 1\n", "ssl_weighting.a has no docstring"),
    (rules.check_docstrings, "experiments/a.py", '"""A."""\ndef f(): ...\n', "a.py:2: f has no"),
    (
        rules.check_docstrings,
        f"{UPSTREAM}/a.py",
        '"""A."""\nclass C: ...\n',
        "C has",
    ),
    (rules.check_heavy_imports, "ssl_weighting/a.py", "import pandas as pd\n", "pandas"),
    (
        rules.check_heavy_imports,
        "ssl_weighting/a.py",
        "try:\n    from matplotlib import pyplot\nexcept ImportError:\n    pass\n",
        "matplotlib.pyplot imported at module level",
    ),
]


@pytest.mark.parametrize(("rule", "path", "text", "message"), BAD_FILES)
def test_file_rules_find_what_is_wrong(rule, path, text, message):
    (finding,) = rule(Source(path, text))
    assert message in finding


GOOD_FILES = [
    (rules.check_flags, "experiments/a.py", "from absl import flags\n"),
    (rules.check_flags, "ssl_weighting/a.py", "from absl import logging\n"),
    (rules.check_private_names, "tests/a.py", "import tensorflow as tf\ntf.__version__\nx._y\n"),
    (rules.check_statements, "tests/a.py", "assert True\n"),
    (rules.check_sizes, "tests/a.py", "x = 1\n" * 350),
    (
        rules.check_sizes,
        "tests/a.py",
        'def f():\n    """\n' + "\n" * 50 + '    """\n    return 1\n',
    ),
    (rules.check_docstrings, "ssl_weighting/a.py", '"""A."""\ndef _f(): ...\n'),
    (rules.check_docstrings, "ssl_weighting/a/__init__.py", ""),
    (rules.check_heavy_imports, "ssl_weighting/a.py", "def f():\n    import pandas\n"),
    (rules.check_heavy_imports, "experiments/a.py", "import pandas\n"),
]


@pytest.mark.parametrize(("rule", "path", "text"), GOOD_FILES)
def test_file_rules_accept_what_is_right(rule, path, text):
    assert list(rule(Source(path, text))) == []


def floor_findings(path: str, text: str) -> list[str]:
    known = {"ssl_weighting.data.splits", "ssl_weighting.objective", "ssl_weighting.influence"}
    known |= {"experiments.runs", "experiments.report"}
    source = Source(path, text)
    return list(floors.check_floors(source, frozenset(known | {source.module})))


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("ssl_weighting/madam.py", "import ssl_weighting.objective\n", "must not import"),
        ("ssl_weighting/madam.py", "from ssl_weighting import objective\n", "must not import"),
        ("ssl_weighting/madam.py", "from . import objective\n", "must not import"),
        ("ssl_weighting/data/a.py", "from ..objective import f\n", "must not import"),
        (
            "ssl_weighting/madam.py",
            "def f():\n    from ssl_weighting.theta.ema import x\n",
            "a.ema",
        ),
        (f"{UPSTREAM}/a.py", "import ssl_weighting.structs\n", "must not"),
        ("ssl_weighting/bilevel.py", "from experiments import build\n", "must not import"),
        ("ssl_weighting/newcomer.py", "x = 1\n", "newcomer is on no floor"),
        ("experiments/a.py", "from ssl_weighting.newcomer import x\n", "on no floor"),
        ("experiments/runs/a.py", "from experiments.report import x\n", "must not import"),
        ("experiments/options/a.py", "from experiments.runs import x\n", "must not import"),
        ("ssl_weighting/parameters/a.py", "from ssl_weighting.influence import f\n", "must not"),
    ],
)
def test_floors_find_what_is_wrong(path, text, message):
    (finding,) = floor_findings(path, text)
    assert message.replace("a.ema", "ssl_weighting.theta.ema") in finding


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("ssl_weighting/influence.py", "from ssl_weighting.data.splits import Examples\n"),
        ("ssl_weighting/data/a.py", "from .splits import Examples\nimport numpy as np\n"),
        ("ssl_weighting/__init__.py", "from ssl_weighting.influence import f\n"),
        ("experiments/a.py", "import ssl_weighting\nfrom ssl_weighting import objective\n"),
        ("tests/a.py", "from experiments import build\n"),
    ],
)
def test_floors_accept_what_is_right(path, text):
    assert floor_findings(path, text) == []


def test_cycles_are_found():
    pair = (
        Source("ssl_weighting/data/a.py", "def f():\n    from ssl_weighting.data import b\n"),
        Source("ssl_weighting/data/b.py", "from ssl_weighting.data.a import f\n"),
    )
    (finding,) = floors.check_cycles(pair, modules_of(pair))
    assert "ssl_weighting.data.a -> ssl_weighting.data.b -> ssl_weighting.data.a" in finding
    assert list(floors.check_cycles(pair[:1], modules_of(pair))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"ssl_weighting/influence.py": '"""The Eq. 6."""'},
        {"ssl_weighting/influence.py": '"""Eq. 60."""'},
        {"ssl_weighting/losses.py": '"""Eq. 6 again."""'},
        {"ssl_weighting/influence.py": "x = 1", "ssl_weighting/losses.py": '"""Eq. 6."""'},
        {"ssl_weighting/madam.py": '"""Alg. 2."""\ndef f():\n    """Alg. 2 again."""'},
    ],
)
def test_paper_objects_find_what_is_wrong(wrong):
    right = {path: f'"""{name}: what it is."""' for name, path in rules.PAPER_OBJECTS.items()}
    assert not list(rules.check_paper_objects([Source(*item) for item in right.items()]))
    files = [Source(*item) for item in (right | wrong).items()]
    assert len(list(rules.check_paper_objects(files))) == 1


@pytest.mark.parametrize("pieces", [("/ro", "ot/x"), (" /wor", "k/x"), ("files.pypi", ".org")])
def test_forbidden_text_is_found(pieces):
    (finding,) = rules.check_text("a.md", "fine\n" + "".join(pieces))
    assert finding.startswith("a.md:2: forbidden text")
    assert list(rules.check_text("a.md", "framework/ or home/ or results/work/")) == []


def test_findings_fail():
    with pytest.raises(pytest.fail.Exception, match=r"a\.py:1: first\nb\.py:2: second"):
        expect_none(iter(["a.py:1: first", "b.py:2: second"]))


def test_bash_errors_are_found():
    assert "syntax error" in bash_errors("if true; then\n")
    assert bash_errors("echo fine\n") == ""
