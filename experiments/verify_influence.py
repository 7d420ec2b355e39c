"""Check Eq. 6: every inverse-Hessian method against dense curvature and against retraining.

    python -m experiments.verify_influence --problem=logistic
    python -m experiments.verify_influence --problem=all --out=results/verify_influence

On real digits, and with --problem=features on features of Fashion-MNIST by a frozen net (λ = 1, and
learned λ), in float64: for each seed a small net, or a linear head, is trained to a gradient below
1e-8; then it is trained again, from there, with the weight of one unlabeled example a little larger
and a little smaller, for --ids examples. Prints a table of each method's agreement, writes it with
scatter plots to OUT/index.html, and exits with 1 when a bound is missed: exact and conjugate
gradient within 1e-6 of the dense solve (all but wide_resnet), both with a rank correlation with
retraining of at least 0.99 (logistic, features) and 0.8 (mlp), none with shuffled ids, and sound
retraining for at least 95 % of ids.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from absl import app, flags

from experiments.options.backbone import EFFICIENTNET_LITE0, is_installed
from experiments.runs.errors import friendly

FEATURES = "features"  # by name: with λ = 1, and with learned λ
PROBLEM_NAMES = ("logistic", "mlp", "wide_resnet", FEATURES)


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define this program's flags."""
    flags.DEFINE_enum("problem", "all", [*PROBLEM_NAMES, "all"], "Which net.", flag_values=values)
    flags.DEFINE_integer("seeds", 3, "Seeds 0 to N-1.", lower_bound=1, flag_values=values)
    text = "Unlabeled examples that are retrained, for each seed."
    flags.DEFINE_integer("ids", 100, text, lower_bound=3, flag_values=values)
    text = "Unlabeled examples in the objective, |U|; 0: the problem's own, 100 to 400."
    flags.DEFINE_integer("unlabeled", 0, text, lower_bound=0, flag_values=values)
    text = "Folder of the page; empty: print only."
    flags.DEFINE_string("out", "results/verify_influence", text, values)


def run(names: tuple[str, ...], seeds: int, ids: int, unlabeled: int, out: str = "") -> list[str]:
    """Compare, print and write; return what was missed.

    Raises:
        ValueError: more ids than unlabeled examples, or more of these than there are.
        FileNotFoundError: a problem's data is not there; says what to install.
        OSError: `out` cannot be written.
    """
    import tensorflow as tf

    from experiments.verification import compare, page
    from experiments.verification.features import FEATURES as OF_FEATURES
    from experiments.verification.problems import PROBLEMS

    tf.get_logger().setLevel("ERROR")  # each method is traced once, which it takes for a mistake
    found, missed = [], []
    known = PROBLEMS | OF_FEATURES
    problems = [
        known[one] for name in names for one in (OF_FEATURES if name == FEATURES else [name])
    ]
    counts = {problem.name: unlabeled or problem.num_unlabeled for problem in problems}
    if ids > min(counts.values()):
        raise ValueError(f"--ids must be at most --unlabeled ({counts}). Received: --ids={ids}")
    for problem in problems:
        comparison = compare.compare(problem, seeds, ids, counts[problem.name], _say)
        found.append(comparison)
        missed += compare.misses(comparison)
        print(f"\n{page.summary(comparison)}\n\n{page.text_table(comparison)}\n", flush=True)
        if out:  # after each problem: the next may take minutes
            _write(page.document(found, missed, shlex.join(_command())), Path(out))
    return missed


def _write(document, folder):
    from experiments.pages.document import pictures_in
    from experiments.pages.files import write_pages
    from experiments.pages.render_html import render_html

    pictures = pictures_in(document.blocks)
    files = {f"figures/{picture.name}.png": picture.png for picture in pictures}
    files["index.html"] = render_html(document)
    write_pages(folder, files, {"index.html": document.title})
    print(f"Report: {folder / 'index.html'}", flush=True)


def _command():
    return ["python", "-m", "experiments.verify_influence", *sys.argv[1:]]


def _say(text):
    print(text, file=sys.stderr, flush=True)


def _all():
    """Return all problems; that of features only where the net's weights are installed."""
    if is_installed(EFFICIENTNET_LITE0):
        return PROBLEM_NAMES
    print(f"{FEATURES} is left out: {EFFICIENTNET_LITE0}'s weights are not installed", flush=True)
    return tuple(name for name in PROBLEM_NAMES if name != FEATURES)


def main(arguments):
    """Compare the problems of the command line."""
    if len(arguments) > 1:
        raise app.UsageError(f"Unknown arguments: {' '.join(arguments[1:])}")
    values = flags.FLAGS
    chosen = values["problem"].value
    names = _all() if chosen == "all" else (chosen,)
    numbers = [values[name].value for name in ("seeds", "ids", "unlabeled")]
    with friendly():
        missed = run(names, *numbers, values["out"].value)
    for text in missed:
        print(f"MISSED {text}", flush=True)
    if missed:
        sys.exit(1)
    print("every bound holds")


if __name__ == "__main__":
    define_flags()
    app.run(main)
