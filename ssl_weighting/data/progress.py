"""How far a long pass over data is: a bar on a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

EVERY = 5.0  # seconds between two lines in a log; a shorter pass says nothing there
_SHOWN_AFTER = 1.0  # seconds after which a terminal shows the bar
_LINE = "{desc}: {n_fmt} of {total_fmt}, ETA {remaining}"

_Item = TypeVar("_Item")


def counted(
    items: Iterable[_Item], total: int, what: str, each: int | Callable[[_Item], int] = 1
) -> Iterator[_Item]:
    """Yield the items, and say with count and time left how many have been dealt with.

    Args:
        items: what is passed on, and dealt with before the next is asked for.
        total: how many things they are.
        what: is done, for people, such as "reading images".
        each: things in an item (the last may hold fewer), or what tells it of an item.
    """
    from tqdm import tqdm

    size = each if callable(each) else lambda item: each
    if sys.stdout.isatty():
        with tqdm(total=total, desc=what, file=sys.stdout, delay=_SHOWN_AFTER) as bar:
            for item in items:
                yield item
                bar.update(min(size(item), total - bar.n))
        return
    started = said = time.monotonic()
    done = 0
    for item in items:
        yield item
        now, done = time.monotonic(), min(done + size(item), total)
        if now - said >= EVERY:
            said = now
            text = tqdm.format_meter(done, total, now - started, prefix=what, bar_format=_LINE)
            print(text, flush=True)
