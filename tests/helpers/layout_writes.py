"""The rule of `layout_rules.py` on writing: whole files, through `replacing` alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from layout_rules import Function, Source

# Who writes in another way: (file, call), and why.
EXCEPTIONS = {
    ("ssl_weighting/data/files.py", "write_bytes"): "the one place",
    ("ssl_weighting/checkpointing.py", "open"): "as carefully, and says how many bytes it needs",
    ("ssl_weighting/checkpointing.py", "savez"): "into that file",
    ("ssl_weighting/checkpointing.py", "save"): "of `ChunkFolder`",
    ("experiments/benchmarks/scale/child.py", "open"): "a lock, which stays empty",
    ("experiments/benchmarks/scale/lam.py", "save"): "of `Checkpoints`",
    ("experiments/benchmarks/scale/memory.py", "open"): "members of a scratch file",
    ("experiments/runs/example_weights.py", "write_table"): "row groups into a `replacing` file",
    ("experiments/benchmarks/scale/scoring.py", "savez"): "a scratch file",
    ("experiments/runs/quiet.py", "open"): "the null device",
    ("experiments/runs/scorer.py", "save"): "into a `replacing_folder`",
    ("experiments/runs/scorer.py", "savez"): "into a `replacing_folder`",
    ("experiments/runs/scorer.py", "write_text"): "into a `replacing_folder`",
    ("experiments/serving/score_files.py", "write_table"): "row groups into a `replacing` file",
    ("experiments/runs/execute.py", "save"): "of `Checkpoints`",
    ("experiments/runs/log.py", "open"): "logs grow by lines",
    ("experiments/runs/log.py", "truncate"): "to where the run resumes",
    ("experiments/runs/times.py", "open"): "as the logs",
    ("experiments/benchmarks/memory.py", "write_text"): "a switch of the kernel",
    ("experiments/benchmarks/peers/worker.py", "write_text"): "a switch of the kernel",
}
# `truncate` is one of them: it loses what stands behind.
WRITERS = frozenset(
    (
        *("write_text", "write_bytes", "save", "savez", "savez_compressed", "savetxt", "tofile"),
        *("dump", "to_csv", "to_parquet", "to_html", "to_pickle", "savefig", "imsave"),
        *("save_weights", "save_pretrained", "write_table", "truncate", "open_memmap"),
        *("copyfile", "copytree", "copy2"),
    )
)
SAFE = ("replacing", "replacing_folder", "BytesIO", "StringIO")


def check_writes(source: Source) -> Iterator[str]:
    """Yield the calls that write a file under the name by which it will be read."""
    if source.room not in ("ssl_weighting", "experiments"):
        return
    for scope in (source.tree, *(n for n in ast.walk(source.tree) if isinstance(n, Function))):
        safe = frozenset(_safe_targets(scope))
        for call in _own_calls(scope):
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            known = (source.path, name) in EXCEPTIONS or safe & _names_in(call)
            if not known and (_opens_to_write(call) if name == "open" else name in WRITERS):
                yield source.finding(call.lineno, f"{name} writes directly: use `replacing`")


def _own_calls(scope: ast.AST) -> Iterator[ast.Call]:
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, Function):
            if isinstance(child, ast.Call):
                yield child
            yield from _own_calls(child)


def _opens_to_write(call: ast.Call) -> bool:
    """Say so for open(path, "w"), path.open("w") and the like; `os.open` has no such mode."""
    values = (*call.args[:2], *(word.value for word in call.keywords if word.arg == "mode"))
    texts = [v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str)]
    return any(len(text) < 4 and set("wax+") & set(text) for text in texts)


def _names_in(call: ast.Call) -> frozenset[str]:
    """Return the names that a call speaks of; what it writes to is one of them."""
    return frozenset(node.id for node in ast.walk(call) if isinstance(node, ast.Name))


def _safe_targets(scope: ast.AST) -> Iterator[str]:
    """Yield what `with replacing(...) as name` and `name = io.BytesIO()` bind.

    And `file` of `with replacing(...) as name, open(name, "wb") as file`.
    """
    bound = set()
    for node in ast.walk(scope):
        if isinstance(node, ast.withitem):
            makes, target = node.context_expr, node.optional_vars
        elif isinstance(node, ast.Assign):
            makes, target = node.value, node.targets[0]
        else:
            continue
        if not isinstance(makes, ast.Call):
            continue
        name = ast.unparse(makes.func).rpartition(".")[2]
        if name in SAFE or (name == "open" and bound & _names_in(makes)):
            bound.add(ast.unparse(target))
            yield ast.unparse(target)
