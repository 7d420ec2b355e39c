"""What texts change about the defaults of `Config`: App. D's recipe, UDA's, and a smoke form."""

from __future__ import annotations

from experiments.options.config import Config
from experiments.options.kinds import TEXTS, kind_of

# App. D and UDA's script for a GPU: BERT-base at 128 tokens. Both warm-ups are a tenth of the run.
TEXT = {
    "model": "bert", "optimizer": "bert_adamw", "learning_rate": 2e-5, "weight_decay": 0.01,
    "lr_schedule": "warmup_linear", "steps": 10_000, "ema_decay": 0.0,
    "labeled_batch": 8, "unlabeled_ratio": 4, "num_labeled": 20, "val_size": 20, "tsa": "linear",
    "inner_steps": 5, "lambda_lr": 0.01, "ramp_steps": 0,
    "algorithm": "uda", "eval_every": 500, "checkpoint_every": 500, "keep_checkpoints": 2,
}  # fmt: skip
# UDA's text script masks nothing; its supervised base.
ALGORITHM_TEXTS = {
    "uda": {"threshold": 0.0},
    "supervised": {
        "learning_rate": 3e-5, "steps": 3000, "labeled_batch": 32,
        "tsa": "none", "eval_every": 150,
    },
}  # fmt: skip
# Not in the paper: reviews of one sentence, from a package, with a BERT that needs no hub.
OFFLINE = {"bert": "minilm", "max_len": 64}

BERT = "bert-base-uncased"
MINILM_LAYERS = 6
SMOKE_INNER_STEPS = 2


def text_recipe(dataset: str, algorithm: str) -> dict:
    """Return the options of a data set of texts before those that are given; {} for others."""
    if kind_of(dataset) is not TEXTS:
        return {}
    own = OFFLINE if dataset == "rotten_tomatoes" else {}
    return TEXT | own | ALGORITHM_TEXTS.get(algorithm or TEXT["algorithm"], {})


def shrunk(config: Config) -> dict:
    """Return the options of a text run's smoke form: the same switches on few short sentences."""
    looked_back = {}
    if config.inverse_hessian == "unrolled":  # on the few steps that there are
        most = SMOKE_INNER_STEPS - config.stale_w
        looked_back["solve_iterations"] = min(config.solve_iterations, most)
    return looked_back | {
        "dataset": "rotten_tomatoes",
        "data_dir": "",
        "back_translation_dir": "",
        "bert": "minilm",
        "bert_trainable_layers": min(config.bert_trainable_layers, MINILM_LAYERS - 1),
        "max_len": min(config.max_len, 24),
        "labeled_batch": 2,
        "num_labeled": 4,
        "val_size": 4,
        "num_unlabeled": 48,
        "num_test": 24,
        "steps": 4,
        "inner_steps": SMOKE_INNER_STEPS,
        "lambda_warmup_steps": min(config.lambda_warmup_steps, 1),
        "lr_warmup_steps": min(config.lr_warmup_steps, 1),
        "eval_every": 4,
        "checkpoint_every": 4,
        "log_every": 4,
    }
