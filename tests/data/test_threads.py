"""No generator holds threads while it is suspended.

One that is dropped joins them when it is collected, which may be within the start of another
thread, under the very lock that the end of a thread takes.
"""

import ast

import pytest
from places import ROOT

FILES = [p for room in ("ssl_weighting", "experiments") for p in (ROOT / room).rglob("*.py")]


def suspended_in_a_pool(tree):
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        and any("Executor" in ast.unparse(item.context_expr) for item in node.items)
        and any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in ast.walk(node))
    ]


def test_no_generator_yields_inside_a_pool():
    found = {str(p): suspended_in_a_pool(ast.parse(p.read_text())) for p in FILES}
    assert not {name: lines for name, lines in found.items() if lines}


@pytest.mark.parametrize("inside", ["yield 1", "yield from pool.map(f, x)"])
def test_the_rule_finds_one(inside):
    code = f"def g():\n    with a(), ThreadPoolExecutor() as pool:\n        {inside}\n"
    assert suspended_in_a_pool(ast.parse(code)) == [2]
