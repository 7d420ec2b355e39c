"""A process ends, however it ends, while tf.data reads rows of tables for it."""

import subprocess
import sys
import textwrap
import weakref

import pytest
from places import ROOT

from experiments.runs.errors import friendly

SECONDS = 120  # a process that waits for itself never ends

AHEAD = """
import time
import numpy as np
import tensorflow as tf
from ssl_weighting.data.example_table import ArrayTable
from ssl_weighting.data.open_iterators import lets_go_at_exit
from ssl_weighting.data.reading import reader_of

class Slow(ArrayTable):
    def gather(self, rows):
        time.sleep(0.02)
        return super().gather(rows)

class Holder:
    def __init__(self):
        read = reader_of(Slow(np.zeros((9, 2), np.float32)))
        ids = tf.data.Dataset.counter().map(lambda k: read([k % 9]), num_parallel_calls=4)
        self.batches = iter(ids.prefetch(4))
        self.itself = self
        lets_go_at_exit(self)
        next(self.batches)

    def forget(self):
        self.batches = None
"""
ENDS = {
    "the last line": ("holder = Holder()", 0),
    "exit": ("holder = Holder(); raise SystemExit(3)", 3),
    "an error": (
        "def act(batches):\n    raise ValueError\nholder = Holder()\nact(holder.batches)",
        1,
    ),
    "nobody has it": ("Holder()", 0),
}


def ended(code, *arguments):
    made = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return made.returncode, made.stderr


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "end",
    [pytest.param(end, marks=() if end == "an error" else SLOW) for end in ENDS],
)
def test_a_holder_lets_go_before_the_interpreter_ends(end):
    code, expected = ENDS[end]
    found, said = ended(AHEAD + code)
    assert found == expected, said


def test_a_program_that_a_damaged_row_ends_does_end(tmp_path):
    """An error on the way, which its traceback, and those that it came from, hold."""
    code = textwrap.dedent("""
        import itertools
        import time
        from absl import app
        from experiments import train_synthetic
        from experiments.options.flags import define
        from ssl_weighting.data import example_table

        example_table.LARGE = 1  # every array is asked for its rows
        calls, original = itertools.count(), example_table.ArrayTable.gather

        def gather(self, rows):
            call = next(calls)
            if call == 150:
                raise ValueError("example 7 is damaged")
            time.sleep(0.02 * (call > 100))  # so that some are read at the end
            return original(self, rows)

        example_table.ArrayTable.gather = gather
        define()
        app.run(train_synthetic.main)
    """)
    options = ["--dataset=moons", "--steps=400", "--jit=false", f"--out={tmp_path / 'run'}"]
    found, said = ended(code, *options)
    assert found == 1 and "ValueError: example 7 is damaged" in said, said


class Batches:
    """Stands for an iterator."""


def test_nothing_that_the_frames_of_an_error_hold_outlives_it():
    known, kept = [], []

    def step():
        batches = Batches()
        known.append(weakref.ref(batches))
        raise ValueError("row 2 is damaged")

    def run():
        batches = Batches()
        known.append(weakref.ref(batches))
        try:
            step()
        except ValueError as error:
            kept.append(error)
            innermost = error.__traceback__.tb_next
            raise error.with_traceback(innermost)  # noqa: B904  # as TensorFlow leaves out frames

    with pytest.raises(SystemExit, match="1"), friendly():
        run()
    assert [one() for one in known] == [None, None]
