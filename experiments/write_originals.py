r"""Write the texts that may be in U, one a line, to have them back-translated.

    python -m experiments.write_originals --dataset=imdb --data_dir=DIR --back_translation_dir=NEW

Then put the paraphrases of line k into line k of NEW/unsup_in/sample_0.9/para/para_0.txt (a second
copy of each into para_1.txt) and train with --back_translation_dir=NEW. One list serves every seed,
V and subset of U.
"""

from __future__ import annotations

from absl import app, flags

from experiments.options.kinds import TEXTS, kind_of
from experiments.runs.cache import cache_dir, define_flag
from experiments.runs.errors import friendly
from ssl_weighting.data.texts.back_translation import write_originals
from ssl_weighting.data.texts.by_name import NAMES, load_texts
from ssl_weighting.data.texts.csv_rows import AUTO, DELIMITERS, SKIP, STOP, USUAL, Layout


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Define the program's flags; a function, so that tests can import several programs."""
    flags.DEFINE_string("dataset", "imdb", "as for train_text", values)
    flags.DEFINE_string("data_dir", "", "as for train_text", values)
    flags.DEFINE_string("text_column", USUAL.text, "as for train_text", values)
    flags.DEFINE_string("label_column", USUAL.label, "as for train_text", values)
    flags.DEFINE_enum("delimiter", AUTO, [AUTO, *DELIMITERS], "as for train_text", values)
    flags.DEFINE_enum("on_error", AUTO, [AUTO, SKIP, STOP], "as for train_text", values)
    flags.DEFINE_string("back_translation_dir", None, "folder to write to", values, required=True)
    define_flag(values)


def main(argv: list[str]) -> None:
    """Write the list that the command line asks for.

    Raises:
        ValueError: the data set has no texts. OSError: it is not there, or the folder is read-only.
    """
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    values = flags.FLAGS
    with friendly():
        if kind_of(values.dataset) is not TEXTS:
            raise ValueError(
                f"--dataset must be one of {', '.join(NAMES)} or csv:PATH. "
                f"Received: --dataset={values.dataset}"
            )
        cache = cache_dir(values.cache_dir)
        layout = Layout(values.text_column, values.label_column, delimiter=values.delimiter)
        raw = load_texts(values.dataset, values.data_dir or None, cache, layout, values.on_error)
        # Labeled texts that are not in D are unlabeled.
        parts = (raw.train, raw.unlabeled) if raw.unlabeled else (raw.train,)
        texts = [text for part in parts for text in part.texts]
        print(f"{len(texts)} texts: {write_originals(values.back_translation_dir, texts)}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
