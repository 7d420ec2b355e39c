"""Are the influences of a run noise, and do they find wrong pseudo-labels? One line a size of V.

  python -m experiments.examine_scores --run=results/study/fashion_mnist_v160/per_example/seed_1

Restores a run that learned weights, scores examples of U by Eq. 6 with sets V of several sizes,
drawn out of the *test* set (that is what makes it an examination, not a method), and prints

  rank corr.  Spearman's correlation with the scores by the whole test set: how little is noise of V
  AUROC       of the negative score for "the pseudo-label is wrong", 0.5 is chance; beside it that
              of confidence, of the loss and of -lambda on the same examples

over the examples that pass the mask, and writes them to RUN/scores.csv. AUROC needs true labels.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import app, flags

from experiments.assemble.build import Run, build, lambda_settings, load_splits
from experiments.options.config import Config
from experiments.pages.files import write_atomically
from experiments.pages.statistics import auroc
from experiments.runs import state as run_state
from experiments.runs.cache import cache_dir, define_flag
from experiments.runs.errors import friendly
from experiments.runs.record import read_config
from ssl_weighting.algorithms import ORACLE_ALGORITHMS
from ssl_weighting.algorithms.oracle import pseudo_labels
from ssl_weighting.lambda_step import LambdaStep, rank_correlation
from ssl_weighting.structs import LabeledBatch
from ssl_weighting.weight_store import LEARNED

_BATCH = 10**9  # number of the batch that is scored: no training reaches it
COLUMNS = ("step", "size", "rank_correlation", "rank_correlation_std", "auroc", "auroc_std")


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_string("run", None, "folder of a run with learned weights", values, required=True)
    flags.DEFINE_list("sizes", ["10", "40", "160", "640"], "sizes of V", values)
    flags.DEFINE_integer("examples", 2000, "examples of U to score", 3, flag_values=values)
    flags.DEFINE_integer("repeats", 8, "sets V of each size", 1, flag_values=values)
    define_flag(values)


def restored(folder: Path, examples: int, cache: str | None) -> Run:
    """Return the run of a folder at its last checkpoint, with Lambda-batches of `examples`.

    Raises:
        FileNotFoundError: no run, or no checkpoint, lies there.
        ValueError: it is a run that has no scores, of two models, of an algorithm whose rows do not
            have one pseudo-label each, or of a method that looks back at steps of training.
    """
    if not (folder / "config.json").exists():
        raise FileNotFoundError(f"--run must be a run's folder. Received: {folder}, no config.json")
    options = read_config(folder)["config"]
    config = Config(**options | {"lambda_max": float(options["lambda_max"])})
    if config.weighting not in LEARNED or config.validation != "held_out":
        raise ValueError(
            f"--run must have learned weights on a held-out V. Received: {folder} with --weighting="
            f"{config.weighting} --validation={config.validation}"
        )
    one_label = config.algorithm in ORACLE_ALGORITHMS and not config.entropy_coefficient
    if not one_label or config.inverse_hessian == "unrolled":
        raise ValueError(
            "--run must have one pseudo-label a row and a method that reads the present alone: "
            f"--algorithm={' or '.join(ORACLE_ALGORITHMS)} without --entropy_coefficient, any "
            f"--inverse_hessian but unrolled. Received: {folder} with --algorithm="
            f"{config.algorithm} --entropy_coefficient={config.entropy_coefficient:g} "
            f"--inverse_hessian={config.inverse_hessian}"
        )
    larger = dataclasses.replace(config, lambda_batch=examples, infl_fresh_batch=True)
    run = build(larger, load_splits(larger, cache))
    there = dataclasses.replace(config, out=str(folder))  # wherever it was made
    found = run_state.checkpoints_of(there, run).restore()
    if found is None:
        raise FileNotFoundError(f"--run must hold a checkpoint. Received: {folder} with none")
    step, state, _ = found
    run_state.restore(run, step, state)
    return run


class Examination:
    """The scores of one batch of U at one point of training.

    Args:
        run: restored; its Lambda-batches are as large as what is examined.
    """

    def __init__(self, run: Run):
        trainer, config = run.trainer, run.config
        self.run, self.step = run, trainer.step
        self.lambda_step = LambdaStep(
            trainer.model,
            trainer.algorithm,
            trainer.store,
            lambda_settings(config),
            scope=trainer.scope,
        )
        self.batch = trainer.lambda_source.at(_BATCH)
        rows = trainer.algorithm(
            lambda inputs, **_: trainer.scope.forward(inputs),
            *self.batch,
            tf.constant(trainer.step, tf.int64),
        )
        ids = rows.ids.numpy()[:, 0]
        self.passes = (rows.mask.numpy() > 0)[ids >= 0]  # of the unlabeled rows
        chosen = np.flatnonzero(ids >= 0)[self.passes]
        self.ids, guessed = ids[chosen], pseudo_labels(rows).numpy()[chosen]
        truth = run.splits.unlabeled.labels[self.ids]
        self.known, self.wrong = truth >= 0, (truth >= 0) & (truth != guessed)
        self.others = {
            "1 - confidence": 1.0 - rows.confidence.numpy()[chosen, 0],
            "loss": rows.loss.numpy()[chosen],
            "-lambda": -trainer.store.table().numpy()[self.ids],
        }

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Return Eq. 6 of the examples that pass, with V = `rows` of the test set; > 0: harmful."""
        test = self.run.splits.test
        inputs = tf.convert_to_tensor(self.run.evaluator.preprocess(test.inputs[rows]))
        validation = LabeledBatch(inputs, tf.constant(test.labels[rows]))
        measured = self.lambda_step.measure(*self.batch, validation, self.step)
        return measured.lam_gradient.numpy()[self.passes]

    def area(self, scores: np.ndarray) -> float:
        """Return the AUROC of scores for wrong pseudo-labels; NaN where it is undefined."""
        value = auroc(scores[self.known], self.wrong[self.known]).value
        return float("nan") if value is None else value


def examine(examination: Examination, sizes: list[int], repeats: int) -> list[tuple]:
    """Return one row of `COLUMNS` a size, the whole test set last."""
    count = len(examination.run.splits.test.labels)
    if not all(1 <= size <= count for size in sizes):
        raise ValueError(
            f"--sizes must be from 1 to {count}, the test examples of the run. Received: "
            f"{','.join(map(str, sizes))}"
        )
    rng = np.random.default_rng(0)
    reference = examination.scores(np.arange(count))
    rows = []
    for size in sizes:
        found = [examination.scores(rng.permutation(count)[:size]) for _ in range(repeats)]
        ranks = [rank_correlation(tf.constant(s), tf.constant(reference)) for s in found]
        areas = [examination.area(s) for s in found]
        spread = (np.mean(ranks), np.std(ranks), np.mean(areas), np.std(areas))
        rows.append((examination.step, size, *map(float, spread)))
    return [*rows, (examination.step, count, 1.0, 0.0, examination.area(reference), 0.0)]


def main(argv: list[str]) -> None:
    """Examine the run of the command line."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    values = flags.FLAGS
    with friendly():
        folder = Path(values.run)
        run = restored(folder, values.examples, cache_dir(values.cache_dir))
        examination = Examination(run)
        rows = examine(examination, [int(size) for size in values.sizes], values.repeats)
        lines = [COLUMNS, *rows]
        write_atomically(
            folder / "scores.csv", "".join(f"{','.join(map(str, x))}\n" for x in lines)
        )
    wrong = examination.wrong[examination.known]
    share = f"{wrong.mean():.1%} of pseudo-labels wrong" if len(wrong) else "no true labels"
    print(f"step {examination.step}: {len(examination.ids)} examples pass the mask, {share}")
    print("  |V|   rank corr.      AUROC")
    for _, size, *numbers in rows:
        print("{:5d}  {:.3f} ± {:.3f}  {:.3f} ± {:.3f}".format(size, *numbers))
    for name, scores in examination.others.items():
        print(f"AUROC of {name}: {examination.area(scores):.3f}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
