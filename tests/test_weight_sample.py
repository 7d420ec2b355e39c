"""What is looked at of Lambda: all of a small U, of a large one a sample that keeps up with it."""

import numpy as np
import pytest

from ssl_weighting import weight_sample
from ssl_weighting.weight_sample import WeightSample, sampled_ids


class Tables:
    def __init__(self, size):
        self.lam, self.visits = np.ones(size, np.float32), np.zeros(size, np.float32)
        self.read = 0

    def sample(self):
        return WeightSample(len(self.lam), self.reader("lam"), self.reader("visits"))

    def reader(self, name):
        def read(ids):
            self.read += len(ids)
            return getattr(self, name)[ids]

        return read


@pytest.fixture
def sampled(monkeypatch):
    monkeypatch.setattr(weight_sample, "SAMPLE", 4)


def test_ids_are_all_or_in_even_distances(sampled):
    assert sampled_ids(10).tolist() == [0, 2, 5, 7] and sampled_ids(10).dtype == np.int64
    assert sampled_ids(4).tolist() == [0, 1, 2, 3] and sampled_ids(2).tolist() == [0, 1]


def test_all_of_a_small_set_is_what_it_is_now(sampled):
    tables = Tables(4)
    sample = tables.sample()
    assert sample.whole
    tables.lam[2] = 5  # nobody said so
    assert sample.lam.tolist() == [1, 1, 5, 1]


def test_of_a_sample_what_was_visited_is_renewed_and_nothing_else_read(sampled):
    tables = Tables(10)
    sample = tables.sample()
    assert not sample.whole and sample.lam.tolist() == [1] * 4 and sample.visits.tolist() == [0] * 4
    tables.lam[:], tables.visits[:] = np.arange(10), 1
    tables.read = 0
    sample.renew(np.array([9, 5, 1, 0, 6]))
    assert sample.lam.tolist() == [0, 1, 5, 1] and sample.visits.tolist() == [1, 0, 1, 0]
    assert tables.read == 4  # ids 0 and 5, two columns
    sample.renew(np.zeros(0, int))
    sample.renew(None, "lam")
    assert sample.lam.tolist() == [0, 2, 5, 7] and sample.visits.tolist() == [1, 0, 1, 0]
    sample.renew()
    assert sample.visits.tolist() == [1] * 4


def test_a_sample_that_was_never_read_is_read_when_asked_for(sampled):
    tables = Tables(10)
    sample = tables.sample()
    tables.lam[5] = 3
    sample.renew(np.array([5]))
    assert tables.read == 0
    assert sample.lam.tolist() == [1, 1, 3, 1]
