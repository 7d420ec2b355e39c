"""Where a run departs from its preset's setting, in words."""

from __future__ import annotations

from pathlib import Path

from experiments.options.config import ENTRIES, Config
from experiments.options.effects import without_effect
from experiments.options.presets import DATASET_RECIPES, resolved
from experiments.options.smoke import MARK
from experiments.options.text import STRONG
from experiments.options.text_recipes import BERT, text_recipe

_SMOKE_TEXT = (
    f"{MARK}: a few steps on short reviews in place of the data set; the numbers mean nothing"
)
UPSTREAM_LAG = 4  # steps by which upstream's queues of batches are behind CTAugment's rates
# --model -> why its runs have nothing to be held to.
_NO_CONSTANTS = {
    "mlp": "the paper prints no constants for Sec. 4.1",
    "features": "the paper trains on no features",
}
# Whether Lambda learns -> what a refit is.
_REFITS = {
    True: "a new model on all labels, V's too, with the learned Λ, is the run's",
    False: "trained on all labels, V's too; no labels validate",
}
_VIEWS_TOO = {"fixmatch": ("ctaugment",)}  # Table 1's; RandAugment is the default


def deviations(config: Config) -> list[str]:
    """Return, in words, where a run departs from its preset's setting; for log and results."""
    names = ("preset", "algorithm", "uda_version", "num_labeled", "weighting")
    above = text_recipe("imdb", config.algorithm) if config.model == "bert" else {}
    above = above | {name: getattr(config, name) for name in names}
    # Whether a mirrored image is still of its class is a property of the data.
    above["flip"] = DATASET_RECIPES.get(config.dataset, {}).get("flip", Config.flip)
    reference = resolved(config.preset, config.algorithm, config.uda_version, above)
    idle = without_effect(config)
    names = [n for n, entry in ENTRIES.items() if entry.departs and n not in idle]
    pairs = [(n, getattr(config, n), getattr(reference, n)) for n in names]
    extra = []
    if config.cross_fits:
        whose = (
            "half the labels" if config.folds == 2 else f"{config.folds - 1} folds of the labels"
        )
        number = "two" if config.folds == 2 else config.folds
        extra.append(f"DEVIATION: validation by cross-fit, {number} models on {whose} each")
    if config.refit:
        extra.append(f"DEVIATION: {_REFITS[config.learns]}")
    if config.model in _NO_CONSTANTS:
        ours = ", ".join(f"{name} {value}" for name, value, other in pairs if value != other)
        return [f"DEVIATION: {_NO_CONSTANTS[config.model]}; ours: {ours}", *extra]
    found = [f"DEVIATION: {n} {value} instead of {r}" for n, value, r in pairs if value != r]
    found += extra
    if config.strong_views not in (reference.strong_views, *_VIEWS_TOO.get(config.algorithm, ())):
        views = f"{config.strong_views} instead of {reference.strong_views}"
        found.append(f"DEVIATION: strong views by {views}")
    if config.learns_rates and config.publish_every > UPSTREAM_LAG:
        lag = f"up to {config.publish_every} steps old instead of up to {UPSTREAM_LAG}"
        found.append(f"DEVIATION: strong views read CTAugment rates that are {lag}")
    if config.model == "bert":
        return found + text_deviations(config)
    if config.smoke:
        found.insert(0, f"{MARK}: a few steps of a small net on digits; the numbers mean nothing")
    return found


def text_deviations(config: Config) -> list[str]:
    """Return, in words, where a text run's strong views depart from the paper's."""
    found = [_SMOKE_TEXT] if config.smoke else []
    bert = Path(config.bert).name  # a folder by its last part: results are published, machines not
    if bert != BERT:
        found.append(f"DEVIATION: bert {bert} instead of {BERT}")
    if config.algorithm not in STRONG or config.back_translation_dir:
        return found
    ours = {
        "tf_idf": f"TF-IDF word replacement ({config.text_augment_p:g}{_corpus(config)})",
        "uniform": f"uniform word replacement ({config.text_augment_p:g})",
        "none": "the text itself",
    }[config.text_augment]
    return [*found, f"DEVIATION: strong views by {ours} instead of back-translation"]


def _corpus(config):
    """Say so where words are counted in the texts of U that are used, not in all that there are."""
    return "; statistics of these texts of U alone" if config.num_unlabeled else ""
