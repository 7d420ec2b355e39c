"""The programs; the only place that knows flags."""

import ssl_weighting  # noqa: F401  (before any `import keras`: it settles the backend)
