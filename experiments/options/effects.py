"""What a change of an option does to a run; whoever asks whether an option matters asks here.

result       changes what is computed
rounding     changes the rounding of the same computation
bookkeeping  says where a run lies and how it is kept and logged
content      names a folder: what lies there counts, not where it lies
"""

from __future__ import annotations

RESULT, ROUNDING, BOOKKEEPING, CONTENT = "result", "rounding", "bookkeeping", "content"
_EFFECTS = {
    "jit": ROUNDING,
    "deterministic": ROUNDING,
    "max_memory": ROUNDING,
    # Several devices also split BatchNorm's batches. These two make runs no pair (`comparable`).
    "devices": ROUNDING,
    "precision": ROUNDING,
    "out": BOOKKEEPING,
    "resume": BOOKKEEPING,
    "checkpoint_every": BOOKKEEPING,
    "keep_checkpoints": BOOKKEEPING,
    "log_every": BOOKKEEPING,
    "data_dir": CONTENT,
    "bert": CONTENT,
    "back_translation_dir": CONTENT,
}


def effect_of(name: str) -> str:
    """Return the effect of an option; one that only older runs have counts as a result."""
    return _EFFECTS.get(name, RESULT)
