"""What a finished run must contain: the checks that decide whether its files can be believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Check = Callable[[Any], bool]


class RunError(ValueError):
    """A run's file that cannot be used; the message names the file and the reason."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_between(low: float, high: float) -> Check:
    def check(value: Any) -> bool:
        # Comparisons alone: they are safe for huge integers and false for NaN.
        return (
            isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        )

    return check


def _is_list(item: Check) -> Check:
    return lambda value: isinstance(value, list) and all(item(entry) for entry in value)


def _or_missing(check: Check) -> Check:
    return lambda value: value is None or check(value)


_is_number = _is_between(-1e300, 1e300)
_is_percent = _is_between(0.0, 100.0)
_is_share = _is_between(0.0, 1.0)

SUMMARY_FIELDS: Mapping[str, tuple[Check, str]] = {
    "dataset": (_is_text, "text"),
    "source": (_is_text, "text"),
    "algorithm": (_is_text, "text"),
    "weighting": (_is_text, "text"),
    "method": (_is_text, "text"),
    "seed": (_is_count, "a whole number"),
    "num_labeled": (_is_count, "a whole number"),
    "val_size": (_is_count, "a whole number"),
    "num_unlabeled": (_is_count, "a whole number"),
    "validation_as_labels": (_is_flag, "true or false"),
    "steps": (_is_count, "a whole number"),
    "test_error_median20": (_is_percent, "a number in [0, 100]"),
    "test_error_best_on_validation": (_or_missing(_is_percent), "a number in [0, 100] or null"),
    "best_on_validation_is_optimistic": (_is_flag, "true or false"),
    "test_error_last": (_is_percent, "a number in [0, 100]"),
    "raw_test_error_last": (_or_missing(_is_percent), "a number in [0, 100] or null"),
    "lambda_share": (_or_missing(_is_share), "a number in [0, 1] or null"),
    "coverage": (_or_missing(_is_share), "a number in [0, 1] or null"),
    "deviations": (_or_missing(_is_list(_is_text)), "a list of texts"),
}

EVAL_FIELDS: Mapping[str, tuple[Check, str]] = {
    "step": (_is_count, "a whole number"),
    "test_error": (_is_percent, "a number in [0, 100]"),
    "validation_error": (_or_missing(_is_percent), "a number in [0, 100] or null"),
    "raw_test_error": (_or_missing(_is_percent), "a number in [0, 100] or null"),
}
LAMBDA_FIELDS: Mapping[str, tuple[Check, str]] = {
    "step": (_is_count, "a whole number"),
    "lam_quantiles": (_or_missing(_is_list(_is_number)), "a list of numbers"),
}
CONFIG_FIELDS: Mapping[str, tuple[Check, str]] = {
    "program": (_is_text, "text"),
    "config": (lambda value: isinstance(value, dict), "an object"),
    "split_hash": (_is_text, "text"),
    "versions": (_or_missing(lambda value: isinstance(value, dict)), "an object"),
    "deviations": (_or_missing(_is_list(_is_text)), "a list of texts"),
    "class_names": (_or_missing(_is_list(_is_text)), "a list of texts"),
}


def parse_object(text: str, where: str) -> dict[str, Any]:
    """Parses one JSON object; NaN and Infinity are refused.

    Raises:
      RunError: not JSON, not an object, or with a non-finite constant.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{where} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise RunError(f"{where} must hold a JSON object. Received: {type(value).__name__}")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def check_fields(
    values: Mapping[str, Any], fields: Mapping[str, tuple[Check, str]], where: str
) -> None:
    """Compares an object with its table of fields.

    Raises:
      RunError: naming the file, the first field that is wrong, and what it must be.
    """
    for name, (check, expected) in fields.items():
        if not check(values.get(name)):
            received = repr(values.get(name))[:60]
            raise RunError(f"{where}: `{name}` must be {expected}. Received: {name}={received}")


def check_histogram(histogram: Any, where: str) -> None:
    """Checks {"edges": [k + 1 increasing], "counts": [k not negative]}; None is allowed.

    Raises:
      RunError: any other shape.
    """
    if histogram is None:
        return
    parts = histogram if isinstance(histogram, dict) else {}
    edges, counts = parts.get("edges"), parts.get("counts")
    valid = (
        _is_list(_is_number)(edges)
        and _is_list(_is_between(0, 1e300))(counts)
        and len(edges) == len(counts) + 1 >= 2
        and bool(np.all(np.diff(edges) > 0))
    )
    if not valid:
        raise RunError(
            f"{where}: `lam_histogram` must have k + 1 increasing edges and k counts. "
            f"Received: lam_histogram={repr(histogram)[:60]}"
        )
