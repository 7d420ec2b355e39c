"""Run folders of the paper's cells made by hand, and what the comparison says of them."""

import json

from experiments.paper import comparison
from experiments.paper.cells import cells

CELLS = {cell.name: cell for cell in cells()}


def finish(out, runs, seed, error, departures=None, **summary):
    """Leave behind what a finished run leaves behind."""
    folder = out / "paper" / runs / f"seed_{seed}"
    folder.mkdir(parents=True)
    summary = {
        "status": "complete", "smoke": False, "test_error_median20": error, "source": "TFDS",
        "test_error_best_on_validation": error + 0.5, "best_on_validation_is_optimistic": True,
    } | summary  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))
    if departures is not None:
        (folder / "cell.json").write_text(json.dumps({"cell": runs, "departures": departures}))
    lines = [
        {"kind": "eval", "step": step, "test_error": error, "validation_error": error + step}
        for step in range(1, 31)
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def entries(out, name):
    """Return heading -> entry of a cell's line in the comparison."""
    return dict(
        zip(
            comparison.HEADINGS,
            comparison.entries(CELLS[name], CELLS, out / "paper"),
            strict=True,
        )
    )
