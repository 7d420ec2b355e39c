"""What follows from the settings of a run, whoever holds them. No TensorFlow."""

from __future__ import annotations

LEARNED = ("single", "per_example", "shuffled", "random")  # as `weight_store.LEARNED`


class Derived:
    """For dataclasses with `algorithm`, `weighting`, `labeled_batch` and `unlabeled_ratio`."""

    @property
    def uses_unlabeled(self) -> bool:
        """Whether the base algorithm reads U at all."""
        return self.algorithm != "supervised"

    @property
    def learns(self) -> bool:
        """Whether the weights are learned."""
        return self.weighting in LEARNED

    @property
    def unlabeled_batch(self) -> int:
        """Unlabeled examples of a training step."""
        return self.labeled_batch * self.unlabeled_ratio
