"""The layout rules of this repository as pure functions of paths and text, for `test_layout.py`.

Each rule yields one message a finding, `path:line: what is wrong`, and nothing when all is well.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

# Who may import whom: only downwards, or within one group. A group is a tuple of patterns.
FLOORS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (
        ("ssl_weighting_upstream", "ssl_weighting_upstream.*"),
        ("ssl_weighting.structs",),
        ("ssl_weighting",),  # the door: version, checks, and names that are loaded when asked for
    ),
    (("ssl_weighting.checks",),),
    (
        ("ssl_weighting.losses",),
        ("ssl_weighting.objective",),
        ("ssl_weighting.madam",),
        ("ssl_weighting.inverse_hessian", "ssl_weighting.inverse_hessian.*"),
        ("ssl_weighting.models", "ssl_weighting.models.*"),
        # What images, texts and features share, and their rooms.
        ("ssl_weighting.data", "ssl_weighting.data.*"),
    ),
    (
        ("ssl_weighting.weight_store", "ssl_weighting.weight_sample"),
        ("ssl_weighting.theta", "ssl_weighting.theta.*"),
        ("ssl_weighting.per_example_gradients", "ssl_weighting.per_example_gradients.*"),
        ("ssl_weighting.algorithms", "ssl_weighting.algorithms.*"),
    ),
    (
        ("ssl_weighting.parameters", "ssl_weighting.parameters.*"),  # what Eq. 6 speaks of
        ("ssl_weighting.evaluation",),
        ("ssl_weighting.checkpointing",),
    ),
    (("ssl_weighting.influence", "ssl_weighting.stale_scores"),),  # Eq. 6
    (
        # Alg. 1, lines 7 to 12, on one worker or several
        (
            "ssl_weighting.lambda_step",
            "ssl_weighting.lambda_step_settings",
            "ssl_weighting.lambda_across",
        ),
    ),
    (
        ("ssl_weighting.bilevel", "ssl_weighting.bilevel_settings"),  # Alg. 1
        ("ssl_weighting.scoring",),  # Eq. 6 of examples that no run has seen
    ),
    (("ssl_weighting.cross_fit",),),  # several of Alg. 1 with one Lambda
    (("ssl_weighting.refit",),),  # one model of what these learned
    (("ssl_weighting.training", "ssl_weighting.training.*"),),  # from settings to these
    (
        ("ssl_weighting.estimator",),  # all of it as scikit-learn has it
        ("ssl_weighting.fit", "ssl_weighting.fit.*"),  # Alg. 1 inside Keras' `fit`
    ),
    (
        ("experiments.options", "experiments.options.*"),
        ("experiments.pages", "experiments.pages.*"),
    ),
    (("experiments.assemble", "experiments.assemble.*"),),
    (("experiments.runs", "experiments.runs.*"),),
    (("experiments.serving", "experiments.serving.*"),),  # what models of runs say of new inputs
    (("experiments.benchmarks", "experiments.benchmarks.*"),),  # time and memory of all of these
    (
        ("experiments.report", "experiments.report.*"),
        ("experiments.gallery", "experiments.gallery.*"),
        ("experiments.paper", "experiments.paper.*"),
        ("experiments.verification", "experiments.verification.*"),
    ),
    (
        ("experiments.study", "experiments.study.*"),
        ("experiments.device_check", "experiments.device_check.*"),
    ),
    (("experiments", "experiments.*"),),  # the programs
)
# Named exceptions, (importer, imported): imports sideways that the design allows. None so far.
SIDEWAYS: frozenset[tuple[str, str]] = frozenset()


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The Python files that may stand at each top, the repository's own top being "": a new file goes
# into a room, a new room is named here first.
TOPS: dict[str, frozenset[str]] = {
    "": _names("setup"),
    ".ci": frozenset(),
    "docs": frozenset(),
    "ssl_weighting": _names("""
        __init__ structs checks objective losses influence lambda_step lambda_step_settings
        lambda_across stale_scores bilevel bilevel_settings cross_fit refit estimator madam
        weight_store weight_sample scoring evaluation checkpointing"""),
    "experiments": _names("""
        __init__ benchmark check_device compare_runs compare_upstream examine_scores export_model
        export_weights extract_features fetch_data make_gallery make_report make_study pack predict
        run_cell run_paper run_profile run_study score
        train_features train_images train_synthetic train_text measure_agreement verify_influence
        write_originals"""),
    "third_party": frozenset(),
    "tests": _names("""
        conftest layout_rules test_layout test_layout_writes test_bilevel test_bilevel_steps
        test_checkpointing
        test_cross_fit test_estimator test_estimator_checks test_evaluation test_influence
        test_influence_edges test_influence_per_visit test_lambda_across test_madam
        test_measure_noise
        test_objective test_own_features test_refit test_score_every_step
        test_scoring test_checks test_surface test_weight_sample test_weight_store"""),
}
# The other files that may stand there. Inside a room any file may stand.
OTHER_FILES: dict[str, frozenset[str]] = {
    "": _names("""
        .gitignore CHANGELOG.md LICENSE README.md pyproject.toml requirements-cpu.lock
        requirements-gpu.lock run_all.sh"""),
    ".ci": _names("run"),
    "docs": _names("""
        architecture.md backbones.md benchmarks.md estimator.md gallery.md influence.md keras.md
        own_data.md predict.md recipes.md refit.md scale.md solve.md"""),
    "experiments": _names("environment.sh python.sh"),
    "third_party": _names("README.md"),
    "tests": _names("run.sh"),
}
_LIBRARY = _names("""
    parameters theta algorithms inverse_hessian per_example_gradients models data data/images
    data/texts data/features data/packed training fit""")
_PROGRAMS = _names("""
    options assemble runs serving report gallery pages study paper benchmarks verification
    device_check""")
FOLDERS: dict[str, frozenset[str]] = {
    "docs": _names("images cluster study study/families study/figures"),
    "ssl_weighting": _LIBRARY | _names("per_example_gradients/engines per_example_gradients/rules"),
    "experiments": _PROGRAMS
    | _names("cells benchmarks/peers benchmarks/scale device_check/traces"),
    "third_party": _names("ssl_weighting_upstream"),
    "tests": _LIBRARY | _PROGRAMS | _names("third_party programs front_door helpers drills walks"),
}

UPSTREAM = "ssl_weighting_upstream"
ROOMS = ("ssl_weighting", "experiments", UPSTREAM)
LIBRARIES = ("tensorflow", "keras")
HEAVY = ("matplotlib", "tensorflow_datasets", "pandas")
PAPER_OBJECTS = {
    "Eq. 6": "ssl_weighting/influence.py",
    "Alg. 1": "ssl_weighting/bilevel.py",
    "Alg. 2": "ssl_weighting/madam.py",
}
MAX_FILE_LINES = 350
MAX_BODY_LINES = 40
# Written in pieces, so that this file does not break its own rule.
FORBIDDEN = re.compile(
    r"(?<!\w)/(?:work|root|home)/" + "|" + "|".join(("pypi[.]" + "org", "python" + "hosted"))
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the top folder, with slashes, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @property
    def room(self) -> str:
        """The package that the file belongs to; tests/ and the like are rooms too."""
        first, *rest = self.path.split("/")
        return UPSTREAM if first == "third_party" and UPSTREAM in rest else first

    @property
    def module(self) -> str:
        path = self.path.removeprefix("third_party/")
        return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def finding(self, line: int, message: str) -> str:
        return f"{self.path}:{line}: {message}"


def imports(source: Source, nodes: Iterable[ast.AST] | None = None) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of everything imported, `from a import b` as `a.b`."""
    for node in ast.walk(source.tree) if nodes is None else nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, (_anchor(source, node.level), node.module)))
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def _anchor(source: Source, level: int) -> str:
    """Return the package that a relative import of this level starts from."""
    parts = source.module.split(".")
    climbs = level - source.path.endswith("__init__.py")
    return ".".join(parts[: len(parts) - climbs]) if level else ""


def check_places(path: str) -> Iterator[str]:
    """A file stands in a room of the list; each top holds the names of its list and no other."""
    top, place = path.split("/", 1) if "/" in path else ("", path)
    folder, _, name = place.rpartition("/")
    if top not in TOPS:
        yield f"{path}:1: {top}/ is no folder of this repository: choose one, or add it to TOPS"
    elif folder and folder not in FOLDERS.get(top, ()):
        yield f"{path}:1: {top}/{folder}/ is no room: choose one, or add it to FOLDERS"
    elif not folder and name not in {f"{stem}.py" for stem in TOPS[top]} | OTHER_FILES.get(
        top, frozenset()
    ):
        yield f"{path}:1: {name} stands at the top of {top or '.'}/: put it into a room"


def check_flags(source: Source) -> Iterator[str]:
    """Only the programs know flags."""
    if source.room in ("experiments", "tests"):
        return
    for line, name in imports(source):
        if name.startswith("absl.flags"):
            yield source.finding(line, "absl.flags outside experiments/")


def check_private_names(source: Source) -> Iterator[str]:
    """No tensorflow.python, no keras.src, no underscore name of TensorFlow or Keras."""
    for line, name in imports(source):
        parts = name.split(".")
        if parts[0] in LIBRARIES and (_is_internal(name) or any(map(_is_private, parts))):
            yield source.finding(line, f"private name {name}")
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if re.match(r"(tf|tensorflow|keras)\.[\w.]+$", name) and (
                _is_private(node.attr) or node.attr in ("src", "python")
            ):
                yield source.finding(node.lineno, f"private name {name}")


def _is_internal(name: str) -> bool:
    return re.match(r"(tensorflow\.python|keras\.src)\b", name) is not None


def _is_private(part: str) -> bool:
    return part.startswith("_") and not part.endswith("__")


def check_statements(source: Source) -> Iterator[str]:
    """No bare except anywhere; no assert outside tests/."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield source.finding(node.lineno, "bare except: name the exceptions")
        if isinstance(node, ast.Assert) and source.room != "tests":
            yield source.finding(node.lineno, "assert outside tests/: raise an error that explains")


def check_sizes(source: Source) -> Iterator[str]:
    """At most 350 lines a file and 40 a function body, its docstring not counted."""
    lines = source.text.count("\n")
    if lines > MAX_FILE_LINES:
        yield source.finding(lines, f"{lines} lines in the file, at most {MAX_FILE_LINES}")
    for node in ast.walk(source.tree):
        if isinstance(node, Function) and (length := _body_lines(node)) > MAX_BODY_LINES:
            yield source.finding(
                node.lineno, f"{length} lines in {node.name}, at most {MAX_BODY_LINES}"
            )


def _body_lines(node: Function) -> int:
    body = node.body[ast.get_docstring(node) is not None :]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def check_docstrings(source: Source) -> Iterator[str]:
    """Every module, and every public function and class at its top level, says what it is for."""
    if source.room not in ROOMS or not source.text.strip():
        return
    for node in (source.tree, *source.tree.body):
        named = isinstance(node, (*Function.__args__, ast.ClassDef))
        if named and node.name.startswith("_"):
            continue
        if (named or node is source.tree) and not ast.get_docstring(node):
            name = node.name if named else source.module
            yield source.finding(getattr(node, "lineno", 1), f"{name} has no docstring")


def check_heavy_imports(source: Source) -> Iterator[str]:
    """ssl_weighting loads matplotlib, pandas and TFDS only inside the functions that need them."""
    if source.room != "ssl_weighting":
        return
    for line, name in imports(source, _outside_functions(source.tree)):
        if name.split(".")[0] in HEAVY:
            yield source.finding(line, f"{name} imported at module level")


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not isinstance(child, (*Function.__args__, ast.Lambda)) and not typing_only:
            yield child
            yield from _outside_functions(child)


def check_paper_objects(sources: Iterable[Source]) -> Iterator[str]:
    """Eq. 6, Alg. 1 and Alg. 2 each open exactly one docstring, in the file that holds them."""
    openings = [
        (match.group(), source.path)
        for source in sources
        if source.room == "ssl_weighting"
        for node in ast.walk(source.tree)
        if isinstance(node, (ast.Module, ast.ClassDef, *Function.__args__))
        if (match := re.match(r"(Eq|Alg)\. \d+\b", ast.get_docstring(node) or ""))
    ]
    for name, path in PAPER_OBJECTS.items():
        found = [where for opening, where in openings if opening == name]
        if found != [path]:
            yield f"{path}: exactly one docstring must open with {name!r}; found in {found}"


def check_text(path: str, text: str) -> Iterator[str]:
    """No folder of somebody's machine and no registry host in any text file."""
    for number, line in enumerate(text.splitlines(), start=1):
        if match := FORBIDDEN.search(line):
            yield f"{path}:{number}: forbidden text {match.group()!r}"


FILE_RULES = (
    check_flags,
    check_private_names,
    check_statements,
    check_sizes,
    check_docstrings,
    check_heavy_imports,
)
