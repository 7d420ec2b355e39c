"""Processes of a run wait for each other, and not for ever."""

import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from places import ROOT
from two_workers import free_ports

from ssl_weighting.theta import rendezvous
from ssl_weighting.theta.rendezvous import Cluster, meet


def addresses(count):
    return tuple(f"127.0.0.1:{port}" for port in free_ports(count))


def meeting(places, indices, seconds=20.0, say=None, gpus=None):
    """Let some of the processes meet, each in a thread; return what each ended with."""
    ended = {}

    def one(index):
        try:
            mine = gpus[index] if gpus else 0
            ended[index] = meet(Cluster(places, index), mine, seconds, say)
        except (OSError, ValueError) as error:
            ended[index] = error

    threads = [threading.Thread(target=one, args=(index,)) for index in indices]
    for thread in threads:
        thread.start()
    return threads, ended


def finished(threads):
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize("count", [2, 4])
def test_all_go_on_once_the_last_has_come_and_the_address_is_free_again(count):
    places = addresses(count)
    first, ended = meeting(places, range(1, count))
    time.sleep(0.3)
    assert not ended
    last, of_chief = meeting(places, [0])
    finished([*first, *last])
    assert ended == dict.fromkeys(range(1, count)) and of_chief == {0: None}
    socket.create_server(("127.0.0.1", int(places[0].rpartition(":")[2]))).close()


def test_all_must_have_as_many_gpus_and_every_one_is_told():
    places = addresses(3)
    threads, ended = meeting(places, range(3), gpus=[8, 8, 300])
    finished(threads)
    for error in ended.values():
        assert isinstance(error, ValueError)
        assert "same number of GPUs in each process. Received: 8, 8, 300. Give" in str(error)
    threads, ended = meeting(places, range(3), gpus=[8, 8, 8])
    finished(threads)
    assert ended == dict.fromkeys(range(3))


def test_whoever_does_not_come_is_named_to_all_that_wait():
    places, said = addresses(3), []
    threads, ended = meeting(places, [0, 1], seconds=1.5, say=said.append)
    finished(threads)
    assert f"no word of worker 2 at {places[2]}." in str(ended[0])
    assert isinstance(ended[1], OSError)
    assert said[0].startswith("waiting for worker ") and f"worker 2 at {places[2]}" in said[-1]


def test_without_a_chief_the_others_end():
    places = addresses(2)
    threads, ended = meeting(places, [1], seconds=0.5)
    finished(threads)
    assert f"no word of all from the chief at {places[0]}" in str(ended[1])


def called(place):
    until = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", int(place.rpartition(":")[2])))
        except OSError:
            assert time.monotonic() < until


def test_strangers_are_hung_up_on():
    places = addresses(2)
    threads, ended = meeting(places, [0])
    with called(places[0]) as stranger:
        stranger.sendall(b"x" * 32)
        assert stranger.recv(1) == b"" and not ended
    last, of_last = meeting(places, [1])
    finished([*threads, *last])
    assert (ended, of_last) == ({0: None}, {1: None})


def test_a_signal_ends_who_waits_and_whoever_goes_ends_all(monkeypatch):
    monkeypatch.setattr(rendezvous, "EVERY", 0.05)
    places, said = addresses(4), []
    threads, ended = meeting(places, [0, 2], say=said.append)
    code = "import sys; from ssl_weighting.theta.rendezvous import *; "
    code += f"meet(Cluster({places}, 1))"
    one = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    until = time.monotonic() + 30
    while not said or said[-1] != f"waiting for worker 3 at {places[3]}":
        assert time.monotonic() < until and not ended
        time.sleep(0.02)
    one.terminate()
    assert one.wait(30) == -signal.SIGTERM
    finished(threads)
    assert "Received: worker 1 has ended" in str(ended[0])
    assert "the chief, or another worker, has ended" in str(ended[2])


def test_a_chief_that_ends_ends_those_that_wait():
    places = addresses(3)
    chief = socket.create_server(("127.0.0.1", int(places[0].rpartition(":")[2])))
    threads, ended = meeting(places, [1])
    connection, _ = chief.accept()
    connection.recv(32)
    connection.close()
    chief.close()
    finished(threads)
    assert "the chief, or another worker, has ended" in str(ended[1])


def test_a_port_in_use_is_named():
    places = addresses(2)
    taken = socket.create_server(("127.0.0.1", int(places[0].rpartition(":")[2])))
    with taken, pytest.raises(OSError, match=f"worker 0 could not listen at {places[0]}"):
        meet(Cluster(places, 0), 1.0)
