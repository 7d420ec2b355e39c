"""Run folders of the paper's cells made by hand, and what the comparison says of them."""

import json

from reporting_runs import evaluation, write_run

from experiments.paper import comparison
from experiments.paper.cells import cells

CELLS = {cell.name: cell for cell in cells()}


def finish(out, runs, seed, error, departures=None, *, errors=None, config=None, **summary):
    """Leave behind what a finished run leaves behind; its best evaluation on V is the first."""
    errors = errors or [error + 0.5, *[error] * 29]
    evals = [evaluation(step, e, validation=error + step) for step, e in enumerate(errors, 1)]
    about = {"smoke": False, "source": "TFDS", "best_on_validation_is_optimistic": True}
    folder = write_run(
        out / "paper", f"{runs}/seed_{seed}", seed=seed, evals=evals, flags=departures,
        config=config, as_labels="v_as_labels" in runs, summary=about | summary,
    )  # fmt: skip
    if departures is not None:
        (folder / "cell.json").write_text(json.dumps({"cell": runs, "departures": departures}))


def entries(out, name):
    """Return heading -> entry of a cell's line in the comparison."""
    return dict(
        zip(
            comparison.HEADINGS,
            comparison.entries(CELLS[name], CELLS, out / "paper"),
            strict=True,
        )
    )
