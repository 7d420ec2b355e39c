"""Read paraphrases made by back-translation, in the files that UDA's tools write."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ssl_weighting_upstream.uda_text_augment import usable_paraphrase

from ssl_weighting.data.files import write_atomically

ORIGINALS = "originals.txt"


class Paraphrases:
    """{folder}/unsup_in/sample_{temperature}/para/para_{copy}.txt, one paraphrase a line.

    Line k of each file belongs to line k of {folder}/unsup_in/originals.txt (`write_originals`), by
    whose text it is found, so that one set of files serves every V and every subset of U. A
    paraphrase that is too short or of another length is left out for the original
    (`usable_paraphrase`).

    Args:
        folder: the user's `back_translation_dir`.
        temperature: of the sampling, as the folder's name spells it (IMDb: 0.9).

    Raises:
        FileNotFoundError: if `folder` has no such subfolder or no list of originals.
    """

    def __init__(self, folder: str | os.PathLike, temperature: float = 0.9):
        self._base = Path(folder) / "unsup_in"
        self._folder = self._base / f"sample_{temperature:g}" / "para"
        if not self._folder.is_dir():
            raise FileNotFoundError(
                "`back_translation_dir` must hold "
                f"unsup_in/sample_{temperature:g}/para/para_0.txt. "
                f"Received: back_translation_dir={os.fspath(folder)!r}, without that folder."
            )
        if not (self._base / ORIGINALS).is_file():
            # Lines in the order of some U would go to other texts with another V, unnoticed.
            raise FileNotFoundError(
                f"`back_translation_dir` must hold unsup_in/{ORIGINALS}, the texts that were "
                f"paraphrased, line by line. Received: back_translation_dir={os.fspath(folder)!r}, "
                "without it. Make it with `python -m experiments.write_originals`."
            )

    @property
    def recipe(self) -> str:
        """Name the contents of all files, so that changed ones are read again."""
        digest = hashlib.sha256()
        for file in (*sorted(self._folder.glob("para_*.txt")), self._base / ORIGINALS):
            content = file.read_bytes()
            digest.update(f"{file.name} {len(content)} ".encode() + content)
        return f"back_translation {digest.hexdigest()}"

    def copies(self, texts: Sequence[str], numbers: Sequence[int]) -> Iterator[list[str]]:
        """Yield the paraphrases `numbers` of all texts.

        Raises:
            FileNotFoundError: if there are fewer files.
            ValueError: if a file has another number of lines than there are originals, or the
                originals lack a text.
        """
        originals = [_one_line(text) for text in texts]
        file = self._base / ORIGINALS
        listed = _lines(file)
        # Listed as upstream's own `unsup_in` is, or by `write_originals`: blanks may differ.
        place = {_one_line(text): line for line, text in enumerate(listed)}
        missing = sum(text not in place for text in originals)
        if missing:
            raise ValueError(
                f"{file} must hold every text of U, one a line. Received: a file of {len(listed)} "
                f"lines without {missing} of {len(originals)} texts. Write it with "
                "`python -m experiments.write_originals` and paraphrase that file."
            )
        for number in numbers:
            lines = self._read(number, len(listed))
            yield [
                # An original in one line may have other tokens than the text itself.
                found if (found := usable_paraphrase(line, lines[place[line]])) != line else text
                for text, line in zip(texts, originals, strict=True)
            ]

    def _read(self, number: int, num_lines: int) -> list[str]:
        path = self._folder / f"para_{number}.txt"
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} must exist for copy {number}. Received: no such file. Make it, or ask "
                "for fewer copies."
            )
        lines = _lines(path)
        if len(lines) != num_lines:
            raise ValueError(
                f"{path} must have one line for each of the {num_lines} originals, in their order. "
                f"Received: {len(lines)} lines. Paraphrase the same list again."
            )
        return lines


def write_originals(folder: str | os.PathLike, texts: Sequence[str]) -> Path:
    """Write {folder}/unsup_in/originals.txt, the texts to paraphrase, one a line; return it.

    Args:
        folder: the future `back_translation_dir`.
        texts: all that may be in U.

    Raises:
        ValueError: another list lies there.
        OSError: it cannot be written.
    """
    path = Path(folder, "unsup_in", ORIGINALS)
    content = "".join(f"{_one_line(text)}\n" for text in texts).encode()
    if path.exists() and path.read_bytes() != content:
        raise ValueError(
            f"{path} must be missing or hold the same texts: paraphrases lie line by line beside "
            "it. Received: another list. Give another folder."
        )
    write_atomically(path, content)
    return path


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _lines(path: Path) -> list[str]:
    """Return the lines, which end at line feeds alone: reviews contain other line breaks."""
    try:
        content = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8. Received: {error}.") from error
    return [line.rstrip("\r") for line in content.removesuffix("\n").split("\n")]
