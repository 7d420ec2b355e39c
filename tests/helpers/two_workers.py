"""Runs of several processes on this machine, and what is asked of one of them.

    python tests/helpers/two_workers.py PROGRAM OPTIONS

is that program with options as a JSON object; its process dies at the theta-step that DIE_AT names,
and with ROUNDS_OTHERWISE it finds influences that are a millionth larger.
"""

import faulthandler
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from places import ROOT

SECONDS = 1500  # to wait for a process: they compile, and a machine may be busy


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    out: str
    err: str


def free_ports(count) -> list[int]:
    """Return ports that nobody listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def environments(count) -> Iterator[dict[str, str]]:
    """Yield the TF_CONFIG of each of `count` processes on this machine."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    for index in range(count):
        task = {"type": "worker", "index": index}
        yield {"TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task})}


def started(program, options, environ=None) -> subprocess.Popen:
    """Start a training program with `options` and what is added to the environment."""
    script = ROOT / "tests" / "helpers" / "two_workers.py"
    usual = {"PYTHONPATH": f"{ROOT}", "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
    return subprocess.Popen(
        [sys.executable, "-u", str(script), program, json.dumps(options, default=str)],
        env=os.environ | usual | (environ or {}),
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(processes: Sequence[subprocess.Popen]) -> list[Ended]:
    """Wait for processes that write little; end those that do not end."""
    found = []
    try:
        for one in processes:
            out, err = one.communicate(timeout=SECONDS)
            found.append(Ended(one.returncode, out, err))
    finally:
        for one in processes:
            if one.poll() is None:
                one.kill()
                one.wait()
    return found


def together(program, options, count=2, each=()) -> list[Ended]:
    """Run a training program in `count` processes; `each` adds to the environment of some."""
    each = [*each, *[{}] * (count - len(each))]
    places = zip(environments(count), each, strict=True)
    return ended([
        started(program, options | {"workers": "auto"}, environ | more) for environ, more in places
    ])  # fmt: skip


def alone(program, options) -> Ended:
    """Run a training program in one process."""
    return ended([started(program, options)])[0]


def _dying(step):
    """Let this process be killed when it is to take theta-steps from `step` on."""
    from ssl_weighting.theta.step import ThetaStep

    advance = ThetaStep.advance

    def until(self, start, count):
        if start >= step:
            os.kill(os.getpid(), signal.SIGKILL)
        advance(self, start, count)

    ThetaStep.advance = until


def _rounding_otherwise():
    """Let this process measure as a machine of another kind would, a little off."""
    from ssl_weighting.lambda_step import LambdaStep

    measure = LambdaStep.measure

    def off(self, *batches):
        measured = measure(self, *batches)
        return measured._replace(lam_gradient=measured.lam_gradient * (1 + 2.0**-20))

    LambdaStep.measure = off


def main(program, options) -> int:
    """Run it as a training program does, and return its exit code."""
    from experiments.options.presets import make_config
    from experiments.runs.errors import friendly
    from experiments.runs.start import TERMINATED, execute

    with friendly():
        config = make_config(**json.loads(options))
        if "DIE_AT" in os.environ:
            _dying(int(os.environ["DIE_AT"]))
        if "ROUNDS_OTHERWISE" in os.environ:
            _rounding_otherwise()
        return 0 if execute(config, program) else TERMINATED


if __name__ == "__main__":
    faulthandler.dump_traceback_later(SECONDS - 20)  # of a process that waits for ever
    sys.exit(main(*sys.argv[1:]))
