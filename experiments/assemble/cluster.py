"""Who the other processes of a run are: read from what a scheduler puts into the environment.

Without TensorFlow. The first source that is set is taken:
    TF_CONFIG: TensorFlow's own form, JSON.
    SLURM's variables of a step, as `srun` sets them for each task.
    SSL_WEIGHTING_HOSTS, with SSL_WEIGHTING_WORKERS and JOB_COMPLETION_INDEX: the pods of an
        Indexed Job of Kubernetes, whose names differ in their number alone.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from ssl_weighting.theta.rendezvous import Cluster

_MOST = 65_535  # the last port
_KINDS = ("chief", "worker")
_FIRST_PORT, _PORTS = 20_000, 10_000  # of SLURM jobs: one of so many, by the number of the job
# A name of a SLURM list has at most one range of numbers in brackets.
_NAMES = re.compile(r"(?P<before>[^\[\],\s]*)(?:\[(?P<ranges>[\d,-]+)\](?P<after>[^\[\],\s]*))?")
_RANGE = re.compile(r"(?P<first>\d+)(?:-(?P<last>\d+))?")
_TASKS = re.compile(r"(?P<tasks>\d+)(?:\(x(?P<nodes>\d+)\))?")


def asked_cluster() -> Cluster:
    """Return the processes that --workers=auto finds in this process' environment.

    Raises:
        ValueError: there is nothing, or a wrong value.
    """
    found = cluster_of(os.environ)
    if found is None:
        raise ValueError(
            "--workers=auto needs an environment that names the processes of the run. Received: "
            "none. Set TF_CONFIG, start the program by `srun` in SLURM, or set SSL_WEIGHTING_HOSTS "
            "and SSL_WEIGHTING_WORKERS in an Indexed Job of Kubernetes; for the GPUs of one "
            "machine --devices is enough"
        )
    return found


def cluster_of(environ: Mapping[str, str]) -> Cluster | None:
    """Return the processes of this run; None where nothing in `environ` speaks of any.

    A cluster of one is one process that needs no other.

    Raises:
        ValueError: a variable that has a value which it cannot have, or is missing beside others.
    """
    if environ.get("TF_CONFIG", "").strip():
        return _from_tf_config(environ["TF_CONFIG"])
    if "SLURM_STEP_NODELIST" in environ:
        return _from_slurm(environ)
    if "SSL_WEIGHTING_HOSTS" in environ:
        return _from_hosts(environ)
    return None


def _from_tf_config(text):
    try:
        found = json.loads(text)
        cluster, task = found["cluster"], found["task"]
        kind, index = task["type"], task["index"]
        kinds = {name: list(cluster[name]) for name in cluster}
    except (ValueError, TypeError, KeyError) as error:
        raise _wrong(
            "TF_CONFIG",
            'JSON like {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", '
            '"index": 0}}',
            f"{text!r} ({type(error).__name__}: {error})",
        ) from None
    if others := sorted(kinds.keys() - set(_KINDS)):
        raise _wrong("TF_CONFIG", "a cluster of a chief and workers alone", ", ".join(others))
    if len(kinds.get("chief", ())) > 1:
        raise _wrong("TF_CONFIG", "a cluster of one chief at most", kinds["chief"])
    place = index if isinstance(index, int) and not isinstance(index, bool) else -1
    if kind not in kinds or not 0 <= place < len(kinds[kind]):
        raise _wrong("TF_CONFIG", "a task of its cluster", f"type {kind!r}, index {index!r}")
    addresses = [*kinds.get("chief", ()), *kinds.get("worker", ())]
    before = len(kinds.get("chief", ())) if kind == "worker" else 0
    return _checked("TF_CONFIG", addresses, before + place)


def _from_slurm(environ):
    hosts = list(_expanded(environ["SLURM_STEP_NODELIST"]))
    tasks = list(_tasks(_value(environ, "SLURM_STEP_TASKS_PER_NODE"), len(hosts)))
    count = _number(environ, "SLURM_STEP_NUM_TASKS", 1)
    if sum(tasks) != count:
        raise _wrong(
            "SLURM_STEP_TASKS_PER_NODE", f"{count} tasks in all, as SLURM_STEP_NUM_TASKS", tasks
        )
    rank = _number(environ, "SLURM_PROCID", 0, count - 1)
    places = [(node, k) for node, each in enumerate(tasks) for k in range(each)]
    here = _number(environ, "SLURM_NODEID", 0), _number(environ, "SLURM_LOCALID", 0)
    if places[rank] != here:
        raise ValueError(
            "SLURM must place ranks on nodes one after the other. Received: rank "
            f"{rank} as number {here[1]} of node {here[0]}, not as number {places[rank][1]} of "
            f"node {places[rank][0]}. Use srun --distribution=block"
        )
    if "SSL_WEIGHTING_PORT" in environ:
        port = _number(environ, "SSL_WEIGHTING_PORT", 1, _MOST)
    else:
        port = _FIRST_PORT + _number(environ, "SLURM_JOB_ID", 0) % _PORTS
    addresses = [f"{hosts[node]}:{port + k}" for node, k in places]
    return _checked("SLURM_STEP_NODELIST", addresses, rank)


def _from_hosts(environ):
    pattern = environ["SSL_WEIGHTING_HOSTS"]
    if pattern.count("{}") != 1:
        raise _wrong(
            "SSL_WEIGHTING_HOSTS",
            'an address with {} in the place of its number, as "train-{}.train:2222"',
            repr(pattern),
        )
    count = _number(environ, "SSL_WEIGHTING_WORKERS", 1)
    addresses = [pattern.replace("{}", str(k)) for k in range(count)]
    index = _number(environ, "JOB_COMPLETION_INDEX", 0, count - 1)
    return _checked("SSL_WEIGHTING_HOSTS", addresses, index)


def _expanded(text) -> Iterator[str]:
    """Yield the names of a SLURM list: n[1-3,07],m5 is n1 n2 n3 n07 m5."""
    wrong = _wrong(
        "SLURM_STEP_NODELIST",
        "names of nodes, each with one range of numbers in brackets at most, as n[1-3,07],m5",
        repr(text),
    )
    for part in re.split(r",(?![^\[]*\])", text):  # a comma within brackets divides no names
        found = _NAMES.fullmatch(part)
        if not part or not found:
            raise wrong
        if found["ranges"] is None:
            yield part
            continue
        for one in found["ranges"].split(","):
            if not (ends := _RANGE.fullmatch(one)):
                raise wrong
            first, last = ends["first"], ends["last"] or ends["first"]
            numbers = range(int(first), int(last) + 1)
            if not numbers:
                raise wrong
            padded = (str(number).zfill(len(first)) for number in numbers)
            yield from (f"{found['before']}{number}{found['after']}" for number in padded)


def _tasks(text, nodes) -> Sequence[int]:
    """Return the tasks of each node: 2(x3),1 is 2 2 2 1."""
    found = [_TASKS.fullmatch(part) for part in text.split(",")]
    if all(found):
        each = [[int(one["tasks"])] * int(one["nodes"] or 1) for one in found]
        tasks = list(itertools.chain.from_iterable(each))
        if len(tasks) == nodes and all(tasks):
            return tasks
    raise _wrong(
        "SLURM_STEP_TASKS_PER_NODE", f"numbers of tasks for {nodes} nodes, as 2(x3),1", repr(text)
    )


def _checked(name, addresses, index):
    for address in addresses:
        host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        right = port.isdecimal() and port.isascii() and 0 < int(port) <= _MOST
        if not host or "/" in host or not right:
            raise _wrong(name, f"addresses host:port with ports of 1 to {_MOST}", repr(address))
    if len(set(addresses)) < len(addresses):
        twice = next(a for a in addresses if addresses.count(a) > 1)
        raise _wrong(name, "different addresses", f"{twice} twice")
    return Cluster(tuple(addresses), index)


def _value(environ, name):
    if name not in environ:
        raise ValueError(f"{name} must be set beside the other variables. Received: none")
    return environ[name]


def _number(environ, name, least, most=None):
    text = _value(environ, name)
    number = int(text) if text.isdecimal() and text.isascii() else -1
    if number < least or (most is not None and number > most):
        upto = f"{least} or more" if most is None else f"{least} to {most}"
        raise _wrong(name, f"a whole number, {upto}", repr(text))
    return number


def _wrong(name, must, received):
    return ValueError(f"{name} must be {must}. Received: {received}")
