"""Not All Unlabeled Data are Equal (NeurIPS 2020): one learned weight per unlabeled example.

Where the paper is: Eq. 6 in `influence`, Alg. 1 in `bilevel`, Alg. 2 in `madam`.
"""

import importlib.util
import os

__version__ = "0.1.0"

# Looked up, not imported: the report needs this package but not the 14 seconds TensorFlow takes.
if importlib.util.find_spec("tensorflow") is None:
    raise ImportError(
        "`ssl_weighting` must be installed with TensorFlow. Received: no module `tensorflow`. "
        "Install exactly one of `pip install -e '.[cpu]'` and `pip install -e '.[gpu]'`."
    )

# A Keras set up for another backend would build models that no TensorFlow tape can see.
if os.environ.setdefault("KERAS_BACKEND", "tensorflow") != "tensorflow":
    raise ImportError(
        "`KERAS_BACKEND` must be 'tensorflow' or unset. "
        f"Received: KERAS_BACKEND={os.environ['KERAS_BACKEND']}. Run `unset KERAS_BACKEND`."
    )
