"""Where prepared data sets lie: the same place for every program."""

from __future__ import annotations

import os
from pathlib import Path

from absl import flags


def define_flag(values: flags.FlagValues) -> None:
    """Define --cache_dir, which `cache_dir` reads."""
    text = "[run] where prepared data sets lie; empty: the user's cache"
    flags.DEFINE_string("cache_dir", "", text, values)


def cache_dir(given: str = "") -> str:
    """Return `given`, else $SSL_WEIGHTING_CACHE, else ~/.cache/ssl_weighting."""
    default = os.environ.get("SSL_WEIGHTING_CACHE") or Path.home() / ".cache" / "ssl_weighting"
    return given or str(default)
