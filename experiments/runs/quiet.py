"""A process of a run that is not its chief: it trains, and neither prints nor writes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ssl_weighting.theta.devices import Devices


class QuietLog:
    """Stands where `RunLog` stands, as far as training alone needs one."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def spent(self, kind: str, seconds: float) -> None:
        """Forget how long a call took."""


@contextlib.contextmanager
def quiet(devices: Devices) -> Iterator[None]:
    """Print nothing but errors to the end of the block, unless this is the chief.

    Errors of any process of several say whose they are.
    """
    with contextlib.ExitStack() as stack:
        if not devices.is_chief:
            nowhere = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        try:
            yield
        except Exception as error:
            if devices.workers > 1:
                error.add_note(f"worker {devices.worker}")
            raise
