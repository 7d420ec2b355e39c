"""Where prepared data sets lie: the same place for every program."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir(given: str = "") -> str:
    """Return `given`, else $SSL_WEIGHTING_CACHE, else ~/.cache/ssl_weighting."""
    default = os.environ.get("SSL_WEIGHTING_CACHE") or Path.home() / ".cache" / "ssl_weighting"
    return given or str(default)
