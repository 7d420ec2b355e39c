r"""Fine-tune BERT on texts: base SSL algorithm, with or without learned weights (Sec. 4.2).

    python -m experiments.train_text --dataset=imdb --algorithm=uda --weighting=per_example \
        --back_translation_dir=PATH --seed=1 --out=results/runs/imdb
    python -m experiments.train_text --dataset=rotten_tomatoes --bert=minilm \
        --bert_trainable_layers=1 --steps=300 --out=results/runs/reviews
    python -m experiments.train_text --dataset=csv:reviews.csv --out=results/runs/mine
    python -m experiments.train_text --smoke

Data sets: imdb, rotten_tomatoes (real reviews from a package, no network), csv:PATH. The defaults
are the paper's: bert-base-uncased, all of its layers, 128 tokens, 8 + 32 texts a step, 10,000
steps. Those of csv: fit the file and --minutes (--recipe=own, docs/own_data.md): a head on the
features of MiniLM. With --backbone a head is trained on the features of a frozen BERT
(docs/backbones.md), as train_features trains on a file of them. A run continues from its last
checkpoint.
"""

from __future__ import annotations

import tempfile

from absl import app, flags

from experiments.options.flags import config_from_flags, define
from experiments.options.kinds import TEXTS, check_kind
from experiments.options.text_recipes import text_recipe
from experiments.runs.cache import cache_dir, define_flag
from experiments.runs.errors import friendly
from experiments.runs.start import TERMINATED, execute
from ssl_weighting.data.texts.by_name import check_texts

# What --smoke alone means.
_SMOKE = {"dataset": lambda: "rotten_tomatoes", "out": lambda: tempfile.mkdtemp(prefix="smoke-")}


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    define(values, shown=text_recipe("imdb", ""))
    define_flag(values)


def main(argv: list[str]) -> int:
    """Run the configuration of the command line; return the exit code."""
    with friendly():
        config = config_from_flags(argv, _SMOKE, TEXTS)
        check_kind(config.dataset, TEXTS)
        check_texts(config.dataset, config.data_dir or None)
        summary = execute(config, "train_text", cache_dir=cache_dir(flags.FLAGS.cache_dir))
    return 0 if summary else TERMINATED


if __name__ == "__main__":
    define_flags()
    app.run(main)
