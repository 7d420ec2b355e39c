"""Before the first step of several workers: joining, and that all have the same code."""

import re
import signal

import numpy as np
import pytest
import tensorflow as tf

from experiments.runs.together import refuse_different
from ssl_weighting.theta.rendezvous import Cluster
from ssl_weighting.theta.workers import join

TWO = Cluster(("127.0.0.1:1", "127.0.0.1:2"), 0)


ERRORS = [
    (None, ""),
    (RuntimeError("it runs"), "ValueError: .* Received: it runs"),
    (tf.errors.UnknownError(None, None, "no"), "OSError: worker 0 could not listen at .*:1: no"),
    (tf.errors.UnavailableError(None, None, "gone"), "WorkerLost: .* Received: gone"),
    (tf.errors.DeadlineExceededError(None, None, "late"), "WorkerLost: .* Received: late"),
]


@pytest.mark.parametrize(("error", "message"), ERRORS)
def test_sigterm_does_after_joining_what_it_did_before(monkeypatch, error, message):
    def strategy(cluster_resolver):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as TensorFlow's handler, which takes note
        if error:
            raise error
        return cluster_resolver

    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", strategy)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        if error:
            with pytest.raises((ValueError, OSError)) as caught:
                join(TWO, 0)
            assert re.match(message, f"{type(caught.value).__name__}: {caught.value}")
        else:
            assert join(TWO, 0).task_id == 0
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


class _Beside:
    """The second of two workers, whose chief has what `theirs` says of the same shape."""

    worker, workers = 1, 2

    def __init__(self, theirs):
        self.theirs = list(theirs)

    def gathered(self, mine):
        theirs = self.theirs.pop(0)
        theirs = mine if theirs is None else np.full_like(mine, theirs)
        assert mine.shape == theirs.shape
        return np.stack([theirs, mine])


def test_workers_with_other_options_to_compare_exchange_no_more_than_that():
    parts = {"--steps": "3", "commit": "abc"}
    refuse_different(_Beside([None, None]), parts)
    with pytest.raises(ValueError, match=r"the same --steps.* 3 on this one, worker 1"):
        refuse_different(_Beside([None, 0]), parts)
    with pytest.raises(ValueError, match=r"the same code\. Received: other options .* worker 1"):
        refuse_different(_Beside([0]), parts)
