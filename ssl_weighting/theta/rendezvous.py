"""Wait until all processes of a run are there, before TensorFlow does: it would wait without ear.

While TensorFlow joins processes it answers no signal and gives up after an hour. Here the chief
listens where TensorFlow will, the others call it, and whoever waits can be stopped, says whom for,
and ends when the time is over or when one of those that are there goes away.
"""

from __future__ import annotations

import contextlib
import hashlib
import selectors
import socket
import time
from collections.abc import Callable
from typing import NamedTuple

WAIT = 900.0  # seconds for the last process to come: schedulers start them one by one
EVERY = 60.0  # seconds between two lines on who is missing
_PAUSE = 0.2  # seconds between two calls of somebody who is not there yet
_GRACE = 5.0  # seconds that the others give the chief, who knows whom to name
_GO = b"\1"


class Cluster(NamedTuple):
    """The processes of a run as one of them sees them."""

    addresses: tuple[str, ...]  # host:port of each; the first is the chief's
    index: int  # of this one among them


def meet(
    cluster: Cluster, seconds: float = WAIT, say: Callable[[str], object] | None = None
) -> None:
    """Return once every process of the cluster has called this.

    Args:
        cluster: two processes or more.
        seconds: how long to wait for the last one.
        say: told whom the chief waits for.

    Raises:
        OSError: somebody did not come, or went away again; or the chief cannot listen at its
            address.
    """
    until = time.monotonic() + seconds
    with contextlib.ExitStack() as opened:
        if cluster.index:
            _call(cluster, until, seconds, opened)
        else:
            _receive(cluster, until, seconds, say or (lambda text: None), opened)


def _receive(cluster, until, seconds, say, opened):
    listening = opened.enter_context(_listening(cluster.addresses[0]))
    watched = opened.enter_context(selectors.DefaultSelector())
    watched.register(listening, selectors.EVENT_READ)
    here, next_word = {}, 0.0
    while len(here) < len(cluster.addresses) - 1:
        now = time.monotonic()
        missing = [k for k in range(1, len(cluster.addresses)) if k not in here.values()]
        names = ", ".join(f"worker {k} at {cluster.addresses[k]}" for k in missing)
        if now > until:
            raise TimeoutError(
                f"All workers must start within {seconds:g} seconds. Received: no word of {names}. "
                "Look for its own error, and start all of them again"
            )
        if now > next_word:
            say(f"waiting for {names}")
            next_word = now + EVERY
        for key, _ in watched.select(min(1.0, max(0.0, until - now))):
            if key.fileobj is listening:
                _welcome(listening, cluster, here, watched, opened)
            else:  # a process that is here has nothing more to say
                raise _gone(f"worker {here[key.fileobj]}")
    for connection in here:
        with contextlib.suppress(OSError):  # whoever goes away now is missed by TensorFlow
            connection.sendall(_GO)
    for connection in here:  # they hang up first, so that the address is free for TensorFlow
        connection.settimeout(5.0)
        with contextlib.suppress(OSError):
            connection.recv(1)


def _welcome(listening, cluster, here, watched, opened):
    """Take a call; whoever is not of this run, or is here already, is hung up on."""
    connection, _ = listening.accept()
    connection.settimeout(5.0)
    greetings = {_greeting(cluster, k): k for k in range(1, len(cluster.addresses))}
    with contextlib.suppress(OSError):
        index = greetings.get(_received(connection, len(next(iter(greetings)))))
        if index is not None and index not in here.values():
            here[opened.enter_context(connection)] = index
            watched.register(connection, selectors.EVENT_READ)
            return
    connection.close()


def _call(cluster, until, seconds, opened):
    chief = cluster.addresses[0]
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError(
                f"All workers must start within {seconds:g} seconds. Received: no word of all "
                f"from the chief at {chief}. Look for its own error, and start all of them again"
            )
        try:
            connection = socket.create_connection(_place(chief), timeout=min(left, 5.0))
        except OSError:  # not there yet
            time.sleep(_PAUSE)
            continue
        opened.enter_context(connection)
        connection.settimeout(max(0.0, until - time.monotonic()) + _GRACE)
        try:
            connection.sendall(_greeting(cluster, cluster.index))
            answer = connection.recv(1)
        except TimeoutError:
            continue
        except OSError:
            answer = b""
        if answer != _GO:
            raise _gone("the chief, or another worker,")
        return


def _gone(who):
    return ConnectionError(
        f"All workers must stay until training begins. Received: {who} has ended. Look for its "
        "own error, and start all of them again"
    )


def _greeting(cluster, index):
    """Return what a process says of itself: its number, of these addresses."""
    return hashlib.sha256(repr((cluster.addresses, index)).encode()).digest()


def _received(connection, size):
    found = b""
    while len(found) < size and (more := connection.recv(size - len(found))):
        found += more
    return found


def _place(address):
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _listening(address):
    host, port = _place(address)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server(("", port), family=family)
    except OSError as error:
        raise OSError(
            error.errno,
            f"worker 0 could not listen at {address}: {error.strerror}. End what uses that port, "
            "or name another one",
        ) from error
