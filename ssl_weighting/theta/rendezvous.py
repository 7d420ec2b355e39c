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
_GO, _UNLIKE = b"\1", b"\2"
_NUMBER = 2  # bytes of a number of GPUs


class WorkerLost(OSError):
    """Another process of a run did not come, or has ended before this one."""


class Cluster(NamedTuple):
    """The processes of a run as one of them sees them."""

    addresses: tuple[str, ...]  # host:port of each; the first is the chief's
    index: int  # of this one among them


def meet(
    cluster: Cluster,
    gpus: int = 0,
    seconds: float = WAIT,
    say: Callable[[str], object] | None = None,
) -> None:
    """Return once every process of the cluster has called this.

    Args:
        cluster: two processes or more.
        gpus: how many GPUs this process has: all must have the same number.
        seconds: how long to wait for the last one.
        say: told whom the chief waits for.

    Raises:
        WorkerLost: somebody did not come, or went away again.
        OSError: the chief cannot listen at its address.
        ValueError: the processes have different numbers of GPUs.
    """
    until = time.monotonic() + seconds
    with contextlib.ExitStack() as opened:
        if cluster.index:
            found = _call(cluster, gpus, until, seconds, opened)
        else:
            found = _receive(cluster, gpus, until, seconds, say or (lambda text: None), opened)
    if len(set(found)) > 1:
        raise ValueError(
            "--workers=auto needs the same number of GPUs in each process. Received: "
            f"{', '.join(map(str, found))}. Give each as many, by CUDA_VISIBLE_DEVICES or by the "
            "scheduler"
        )


def _receive(cluster, gpus, until, seconds, say, opened) -> list[int]:
    """Wait for all others as the chief; return the number of GPUs of each process."""
    listening = opened.enter_context(_listening(cluster.addresses[0]))
    watched = opened.enter_context(selectors.DefaultSelector())
    watched.register(listening, selectors.EVENT_READ)
    here, found, next_word = {}, {0: gpus}, 0.0
    while len(here) < len(cluster.addresses) - 1:
        now = time.monotonic()
        missing = [k for k in range(1, len(cluster.addresses)) if k not in here.values()]
        names = ", ".join(f"worker {k} at {cluster.addresses[k]}" for k in missing)
        if now > until:
            raise WorkerLost(
                f"All workers must start within {seconds:g} seconds. Received: no word of {names}. "
                "Look for its own error, and start all of them again"
            )
        if now > next_word:
            say(f"waiting for {names}")
            next_word = now + EVERY
        for key, _ in watched.select(min(1.0, max(0.0, until - now))):
            if key.fileobj is listening:
                _welcome(listening, cluster, here, found, watched, opened)
            else:  # a process that is here has nothing more to say
                raise _gone(f"worker {here[key.fileobj]}")
    numbers = [found[k] for k in range(len(cluster.addresses))]
    told = _GO if len(set(numbers)) == 1 else _UNLIKE + b"".join(map(_as_bytes, numbers))
    for connection in here:
        with contextlib.suppress(OSError):  # whoever goes away now is missed by TensorFlow
            connection.sendall(told)
    for connection in here:  # they hang up first, so that the address is free for TensorFlow
        connection.settimeout(5.0)
        with contextlib.suppress(OSError):
            connection.recv(1)
    return numbers


def _welcome(listening, cluster, here, found, watched, opened):
    """Take a call; whoever is not of this run, or is here already, is hung up on."""
    connection, _ = listening.accept()
    connection.settimeout(5.0)
    greetings = {_greeting(cluster, k): k for k in range(1, len(cluster.addresses))}
    with contextlib.suppress(OSError):
        index = greetings.get(_received(connection, len(next(iter(greetings)))))
        is_new = index is not None and index not in here.values()
        number = _received(connection, _NUMBER) if is_new else b""
        if len(number) == _NUMBER:
            here[opened.enter_context(connection)] = index
            found[index] = int.from_bytes(number, "big")
            watched.register(connection, selectors.EVENT_READ)
            return
    connection.close()


def _call(cluster, gpus, until, seconds, opened) -> list[int]:
    """Wait for the chief's word; return the number of GPUs of each process, or just this one's."""
    chief = cluster.addresses[0]
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise WorkerLost(
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
            connection.sendall(_greeting(cluster, cluster.index) + _as_bytes(gpus))
            answer, numbers = connection.recv(1), b""
            if answer == _UNLIKE:
                numbers = _received(connection, _NUMBER * len(cluster.addresses))
        except TimeoutError:
            continue
        except OSError:
            answer = b""
        if answer == _UNLIKE and len(numbers) == _NUMBER * len(cluster.addresses):
            starts = range(0, len(numbers), _NUMBER)
            return [int.from_bytes(numbers[k : k + _NUMBER], "big") for k in starts]
        if answer != _GO:
            raise _gone("the chief, or another worker,")
        return [gpus]


def _gone(who):
    return WorkerLost(
        f"All workers must stay until training begins. Received: {who} has ended. Look for its "
        "own error, and start all of them again"
    )


def _greeting(cluster, index):
    """Return what a process says of itself: its number, of these addresses."""
    return hashlib.sha256(repr((cluster.addresses, index)).encode()).digest()


def _as_bytes(gpus):
    return gpus.to_bytes(_NUMBER, "big")


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
