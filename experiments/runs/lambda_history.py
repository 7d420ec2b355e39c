"""λ of the examples at up to 20 moments of a run, evenly spread: lambda_history.npz.

Of a large U it is that of a sample (`sampled_ids`), so that the file has at most 8 MB.

Every evaluation is a moment. Once there are more than `MOST`, every second one is dropped, and from
then on only every second, fourth, ... evaluation is kept; the newest always is. What is kept
follows from the step alone, so a run that was killed and resumed ends with the same file.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.options.config import Config
from experiments.runs.run_files import RunError
from ssl_weighting.data.array_files import read_npz
from ssl_weighting.data.files import replacing
from ssl_weighting.weight_sample import sampled_ids

FILE = "lambda_history.npz"
MOST = 20


class Moments(NamedTuple):
    """The content of the file: λ of the examples `ids` [n] int after `steps` [K] theta-steps."""

    steps: np.ndarray  # [K] int64, increasing
    ids: np.ndarray  # [n] int64, increasing
    lam: np.ndarray  # [K, n] float32


class LambdaHistory:
    """Collects λ and writes the file anew at every evaluation.

    Args:
        folder: run folder.
        num_unlabeled: |U|.
        eval_every: theta-steps from one evaluation to the next.
        step: where the run stands; moments up to there are taken over from the file.
    """

    def __init__(self, folder: str | Path, num_unlabeled: int, eval_every: int, step: int = 0):
        self.path, self.eval_every = Path(folder) / FILE, eval_every
        self.ids = sampled_ids(num_unlabeled)
        self.moments = self._earlier(step)

    def take(self, step: int, lam: np.ndarray) -> None:
        """Record λ of the sampled ids, [n] float32, after `step` theta-steps; write the file.

        Raises:
            OSError: it cannot be written.
        """
        self.moments[step] = np.array(lam, np.float32)
        stride = stride_of(self._number(step))
        kept = [s for s in sorted(self.moments) if s == step or not self._number(s) % stride]
        self.moments = {s: self.moments[s] for s in kept}
        found = Moments(np.array(kept), self.ids, np.stack(list(self.moments.values())))
        with replacing(self.path) as temporary:
            np.savez_compressed(temporary, **found._asdict())

    def _number(self, step):
        return -(-step // self.eval_every)  # of the evaluation, from 1

    def _earlier(self, step):
        if not step or not self.path.exists():
            return {}
        try:
            file = read_history(self.path)
            if not np.array_equal(file.ids, self.ids):
                raise RunError(f"{self.path.name} is of another run")
        except RunError as error:
            print(f"{self.path}: {error}; its earlier moments are lost", flush=True)
            return {}
        return {int(s): lam for s, lam in zip(file.steps, file.lam, strict=True) if s <= step}


def history_of(config: Config, num_unlabeled: int, step: int) -> LambdaHistory | None:
    """Return what keeps the history of a run that stands at `step`; None where λ never moves."""
    if not config.learns:
        return None
    return LambdaHistory(config.out, num_unlabeled, config.eval_every, step)


def read_history(path: Path) -> Moments:
    """Return what a run kept.

    Raises:
        RunError: unreadable, or arrays of other names, shapes or types.
    """
    try:
        arrays = read_npz(path)
        found = Moments(*(arrays[name] for name in Moments._fields))
    except (ValueError, KeyError) as error:
        reason = str(error).replace(str(path), path.name)
        raise RunError(f"{path.name} cannot be read: {reason}") from error
    whole = all(x.ndim == 1 and x.dtype.kind == "i" for x in (found.steps, found.ids))
    expected = found.steps.shape + found.ids.shape
    if not whole or found.lam.shape != expected or found.lam.dtype != np.float32:
        raise RunError(
            f"{path.name}: `lam` must be float32 {list(expected)}, a row for each of `steps` and a "
            f"column for each of `ids`, both whole numbers. Received: {found.lam.dtype.name} "
            f"{list(found.lam.shape)}"
        )
    rising = (np.diff(found.steps) > 0).all() and (np.diff(found.ids) > 0).all()
    if not (rising and len(found.steps) and np.isfinite(found.lam).all()):
        raise RunError(f"{path.name} must hold finite λ of rising `steps` and `ids`")
    return found


def stride_of(evaluations: int) -> int:
    """Return the least power of two of which no more than `MOST` multiples are among 1, 2, ...

    Where all `MOST` places are taken, the newest evaluation is one of the multiples or waits in a
    place of its own, so that one less is left for them.

    Args:
        evaluations: so far.
    """
    stride = 1
    while evaluations // stride + bool(evaluations % stride) > MOST:
        stride *= 2
    return stride
