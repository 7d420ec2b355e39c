"""Texts to BERT's tokens, [CLS] ... [SEP] and padding, with the tokenizer of a Hugging Face folder.

Tokenised once: `TokenCache` keeps the result under a hash of everything it depends on.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_weighting.data.array_files import kept
from ssl_weighting.data.progress import counted

TRUNCATIONS = ("tail", "head")
VOCABULARIES = ("tokenizer.json", "vocab.txt")  # either one holds the vocabulary
_CHUNK = 2048  # texts in the tokenizer's hands at once
_FORMAT = 1  # of the hashed description; raise it when the same description means other tokens


class TextEncoder:
    """n texts -> [n, max_len] int32 tokens: [CLS] pieces [SEP], then 0.

    A text of more than max_len - 2 pieces keeps its last ones (`tail`, upstream's default) or its
    first ones (`head`). One segment; the mask of attention is tokens != 0. DEVIATION: Hugging
    Face's tokenizer also splits Chinese characters, which UDA's does not.

    Args:
        tokenizer: a `transformers` tokenizer with a fast backend, pad token 0.
        max_len: L, at least 3.
        truncation: one of `TRUNCATIONS`.

    Raises:
        ValueError: if an argument does not fit.
    """

    def __init__(self, tokenizer: Any, max_len: int = 128, truncation: str = "tail"):
        _check_encoder(tokenizer, max_len, truncation)
        # A copy, as the length and the side are its state.
        backend = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
        backend.no_truncation()
        backend.no_padding()
        import tokenizers

        described = f"{tokenizers.__version__} {backend.to_str()}"
        self.max_len, self.truncation = max_len, truncation
        self.fingerprint = hashlib.sha256(described.encode()).hexdigest()
        words = backend.get_vocab()
        self.vocabulary_size = len(words)
        # What a trained net depends on, whichever release of the tokenizer reads the words.
        self.vocabulary = hashlib.sha256(repr(sorted(words.items())).encode()).hexdigest()
        # A review that says "[PAD]" means these five characters.
        backend.encode_special_tokens = True
        sides = {"tail": "left", "head": "right"}  # the side that is cut off
        backend.enable_truncation(max_len, direction=sides[truncation])
        backend.enable_padding(length=max_len, pad_id=0, pad_token=tokenizer.pad_token)
        self._backend = backend

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return the tokens [n, max_len] int32 of n texts."""
        tokens = np.zeros([len(texts), self.max_len], np.int32)
        starts = range(0, len(texts), _CHUNK)
        for start in counted(starts, len(texts), "tokenising texts", each=_CHUNK):
            part = list(texts[start : start + _CHUNK])
            rows = tokens[start : start + len(part)]  # a view
            needed = [self._needed(text) for text in part]
            rows[:] = self._encode(needed)
            # Rare: words made only of characters that the tokenizer drops.
            for k in np.flatnonzero(rows[:, -1] == 0):
                if needed[k] is not part[k]:
                    rows[k] = self._encode([part[k]])[0]
        return tokens

    def to_json(self) -> str:
        """Return tokenizer.json of the library `tokenizers`, with truncation and padding."""
        return self._backend.to_str()

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._backend.encode_batch_fast(texts)]

    def _needed(self, text: str) -> str:
        """Return the end (or beginning) of a text that fills L if each word gives a piece."""
        most = self.max_len - 2
        tail = self.truncation == "tail"
        words = text.rsplit(" ", most) if tail else text.split(" ", most)
        if len(words) <= most:
            return text
        return " ".join(words[1:] if tail else words[:-1])


def load_encoder(bert: str, max_len: int = 128, truncation: str = "tail") -> TextEncoder:
    """Return the encoder with the tokenizer of `bert`.

    Args:
        bert: a Hugging Face folder (nothing is downloaded), or a name on the hub.
        max_len, truncation: as in `TextEncoder`.

    Raises:
        OSError: if there is no such folder, or no tokenizer in it, and no such name on the hub.
        ValueError: if an argument does not fit.
    """
    import transformers

    local = Path(bert).is_dir()
    try:
        # transformers makes a tokenizer that knows no word where the vocabulary is missing.
        if local and not any(Path(bert, name).is_file() for name in VOCABULARIES):
            raise OSError(f"neither {' nor '.join(VOCABULARIES)} is there")
        tokenizer = transformers.AutoTokenizer.from_pretrained(bert, local_files_only=local)
    except Exception as error:  # transformers raises many types for damaged files
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        raise OSError(
            "`bert` must be a Hugging Face folder with a tokenizer (tokenizer.json, or vocab.txt "
            "and tokenizer_config.json), or a name on the hub, which needs the network. "
            f"Received: bert={bert!r}: {reason}"
        ) from error
    try:
        return TextEncoder(tokenizer, max_len, truncation)
    except ValueError as error:
        raise ValueError(f"{error} Read from bert={bert!r}.") from error


class TokenCache:
    """Tokens on disk, one file for each description; damaged files are made again.

    Args:
        folder: where they lie; made if missing. None: nothing is kept.
        say: told what was read and made, one line each.
    """

    def __init__(self, folder: str | os.PathLike | None, say: Callable[[str], None] = print):
        self._folder, self._say = None if folder is None else Path(folder), say

    def encode(self, encoder: TextEncoder, texts: Sequence[str]) -> np.ndarray:
        """Return `encoder(texts)`, [n, L] int32, from disk if it is there."""
        return self.get(encoder, texts, "", lambda: encoder(texts))

    def get(
        self, encoder: TextEncoder, texts: Sequence[str], recipe: str, make: Callable
    ) -> np.ndarray:
        """Return `make()`, from disk if it is there.

        Args:
            encoder: makes the tokens.
            texts: n originals.
            recipe: all else that `make` depends on; "" for the plain tokens.
            make: () -> [n, L] int32.
        """
        if self._folder is None:
            return make()
        name = describe(encoder, texts, recipe)
        path = self._folder / f"tokens-{name[:32]}.npz"
        # A vocabulary below 65,537 needs two bytes a token.
        stored = np.min_scalar_type(max(encoder.vocabulary_size - 1, 0))
        shape = (len(texts), encoder.max_len)
        tokens = kept(path, name, shape, lambda: make().astype(stored), self._say)
        return tokens.astype(np.int32)


def describe(encoder: TextEncoder, texts: Sequence[str], recipe: str = "") -> str:
    """Return the SHA-256 of texts, tokenizer, length, truncation and recipe, in hexadecimal."""
    digest = hashlib.sha256()
    head = (_FORMAT, encoder.fingerprint, encoder.max_len, encoder.truncation, recipe, len(texts))
    digest.update(repr(head).encode())
    for text in texts:
        content = text.encode()
        digest.update(len(content).to_bytes(8, "little"))  # keeps ("ab", "c") from ("a", "bc")
        digest.update(content)
    return digest.hexdigest()


def _check_encoder(tokenizer, max_len, truncation) -> None:
    if truncation not in TRUNCATIONS:
        raise ValueError(
            f"`truncation` must be one of {', '.join(TRUNCATIONS)}. "
            f"Received: truncation={truncation!r}."
        )
    if max_len < 3:
        raise ValueError(
            f"`max_len` must be at least 3, [CLS], a piece and [SEP]. Received: max_len={max_len}."
        )
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or tokenizer.pad_token_id != 0:
        raise ValueError(
            "`tokenizer` must be a fast BERT tokenizer whose [PAD] is token 0. Received: "
            f"{type(tokenizer).__name__} with pad_token_id={tokenizer.pad_token_id}."
        )
