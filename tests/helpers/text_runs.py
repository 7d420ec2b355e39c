"""Tiny runs of the text program: a BERT of two layers and sixty texts."""

import dataclasses

import numpy as np
from berts import SMALL as THREE_LAYERS
from berts import random_tensors, write_checkpoint
from text_files import SPECIAL, WORDS, write_csv, write_tokenizer

SMALL = dataclasses.replace(THREE_LAYERS, num_layers=2)
# Lambda moves every other step; dropout, decay and warm-up are on.
TINY = {
    "max_len": 9, "num_labeled": 4, "val_size": 4, "labeled_batch": 3, "unlabeled_ratio": 2,
    "steps": 8, "inner_steps": 2, "lambda_warmup_steps": 2, "lr_warmup_steps": 3,
    "learning_rate": 0.01, "eval_every": 4, "checkpoint_every": 4, "log_every": 2,
    "threshold": 0.0, "ramp_steps": 0, "text_copies": 2,
}  # fmt: skip


def tiny_options(folder):
    """Options that name a tiny checkpoint with its tokenizer and a .csv file of 60 texts."""
    rng = np.random.default_rng(0)
    bert = write_tokenizer(folder / "bert")
    assert len(SPECIAL) + len(WORDS) <= SMALL.vocabulary
    write_checkpoint(bert, random_tensors(rng, SMALL), SMALL)
    rows = []
    for k in range(60):
        words = [str(w) for w in rng.choice(WORDS[:-2], rng.integers(3, 12))]
        rows.append((" ".join([("good", "bad")[k % 2], str(WORDS[k % 17]), *words]), k % 2))
    unlabeled = [(f"{text} film", "") for text, _ in rows[:20]]
    data = write_csv(folder / "reviews.csv", rows + unlabeled)
    return TINY | {"dataset": f"csv:{data}", "bert": str(bert)}
