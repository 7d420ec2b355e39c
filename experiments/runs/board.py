"""TensorBoard's files, without which a run goes on, whatever befalls them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import tensorflow as tf


class Board:
    """Writes scalars and histograms for TensorBoard until that fails once.

    Args:
        folder: of its files.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._writer = None
        self._writer = self._tried(lambda: tf.summary.create_file_writer(str(folder)))

    def scalars(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Write each of `values` under the name kind/NAME."""
        self._write(step, lambda: [tf.summary.scalar(f"{kind}/{k}", v) for k, v in values.items()])

    def histogram(self, step: int, weights) -> None:
        """Write the distribution of lambda, of all or of some examples."""
        self._write(step, lambda: tf.summary.histogram("lambda/weights", weights))

    def close(self) -> None:
        """Write what is held back."""
        if self._writer:
            self._tried(self._writer.close)

    def _write(self, step, write):
        if self._writer:
            with self._writer.as_default(step=step):
                self._tried(write)

    def _tried(self, action: Callable):
        try:
            return action()
        except (tf.errors.OpError, OSError) as error:
            reason = re.sub(r"{{.*?}} ?", "", str(getattr(error, "message", error)))[:200]
            print(f"{self.folder} cannot be written ({reason}); going on without it", flush=True)
            self._writer = None
            return None
