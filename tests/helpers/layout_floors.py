"""The rules of `layout_rules.py` on who imports whom: only downwards, and never in a circle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from layout_rules import FLOORS, ROOMS, SIDEWAYS, Source, imports


def own_imports(source: Source, modules: frozenset[str]) -> Iterator[tuple[int, str]]:
    """Yield (line, module) for imports of this repository's own modules."""
    for line, name in imports(source):
        if name.split(".")[0] in ROOMS:
            yield line, name if name in modules else name.rpartition(".")[0] or name


def place(module: str) -> tuple[int, tuple[str, ...]] | None:
    """Return the floor and the group of a module, None if the table does not know it."""
    for floor, groups in enumerate(FLOORS):
        for group in groups:
            if any(fnmatchcase(module, pattern) for pattern in group):
                return floor, group
    return None


def check_floors(source: Source, modules: frozenset[str]) -> Iterator[str]:
    """Imports go downwards, or stay within one group."""
    if source.room not in ROOMS:
        return
    if (here := place(source.module)) is None:
        yield source.finding(1, f"{source.module} is on no floor: add it to FLOORS")
        return
    for line, target in own_imports(source, modules):
        there = place(target)
        own_package = source.path.endswith("__init__.py") and target.startswith(source.module + ".")
        if there is None:
            yield source.finding(line, f"{target} is on no floor: add it to FLOORS")
        elif not (
            there[0] < here[0]
            or there == here
            or own_package
            or (source.module, target) in SIDEWAYS
        ):
            yield source.finding(line, f"{source.module} must not import {target}")


def check_cycles(sources: Iterable[Source], modules: frozenset[str]) -> Iterator[str]:
    """No module reaches itself by imports, those inside functions included."""
    graph = {s.module: {name for _, name in own_imports(s, modules)} - {s.module} for s in sources}
    state: dict[str, str] = {}

    def visit(module: str, trail: tuple[str, ...]) -> Iterator[str]:
        if state.get(module) == "open":
            yield "import cycle: " + " -> ".join((*trail[trail.index(module) :], module))
        if module in state:
            return
        state[module] = "open"
        for target in sorted(graph.get(module, ())):
            yield from visit(target, (*trail, module))
        state[module] = "done"

    for module in sorted(graph):
        yield from visit(module, ())
