"""Draws of hypothesis, the same ones each time."""

from hypothesis import given, settings


def fuzz(count, **strategies):
    """Run a test on `count` draws of its arguments, the same ones each time."""

    def decorate(test):
        known = {"derandomize": True, "deadline": None, "database": None, "print_blob": False}
        return settings(max_examples=count, **known)(given(**strategies)(test))

    return decorate
