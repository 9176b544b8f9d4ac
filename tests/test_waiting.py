"""Threads take turns, whoever waits is told for what, and a fork begins with a free lock."""

import os
import threading
import time

import pytest
from filelock import FileLock, Timeout

from hpkit import waiting
from hpkit.waiting import Turn, file_lock, told


def in_thread(function):
    """Its result, from another thread."""
    got = []
    thread = threading.Thread(target=lambda: got.append(function()))
    thread.start()
    thread.join(10)
    return got[0]


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(waiting, "PATIENCE", 0.05)


def test_a_thread_may_take_its_turn_twice_and_another_has_to_wait():
    turn = Turn("a test")
    with turn, turn:
        assert not in_thread(lambda: turn.take(timeout=0.05))
    assert in_thread(lambda: turn.take(timeout=0.05))


def test_a_turn_can_be_given_back_elsewhere():
    turn = Turn("a test")
    turn.take()
    in_thread(turn.give_back)
    assert in_thread(lambda: turn.take(timeout=0.05))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_of_a_process_that_trains_begins_with_a_free_turn():
    turn = Turn("a test")
    in_thread(turn.take)
    child = os.fork()
    if child == 0:
        turn.give_back()  # as a generator does that is thrown away here
        free = turn.take(timeout=0.05)
        turn.give_back()
        os._exit(0 if free and turn.take(timeout=0.05) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_who_waits_long_is_told_for_what_in_one_line(impatient, tmp_path, capsys):
    turn, path = Turn("another training"), tmp_path / "x.lock"
    in_thread(turn.take)
    assert not turn.take(timeout=0.3)
    with FileLock(path), pytest.raises(Timeout):
        raise_from_thread(lambda: file_lock(path, timeout=0.3))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "waiting for another training in this process to end; Ctrl-C gives up",
        f"waiting for {path}, which another process holds; Ctrl-C gives up",
    ]


def raise_from_thread(function):
    """What it raises in another thread, raised here."""
    def caught():
        try:
            function()
        except Exception as error:
            return error

    raise in_thread(caught)


def test_who_does_not_wait_long_is_told_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(waiting, "PATIENCE", 1)
    with told("nothing"), Turn("a test"), file_lock(tmp_path / "x.lock"):
        pass
    time.sleep(1.5)
    assert capsys.readouterr().err == ""


def test_a_file_system_without_locks_is_named(monkeypatch, tmp_path):
    def refuse(*args):
        raise OSError(waiting.NO_LOCKS[0], "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(OSError, match=r"x.lock: this file system has no locks .* HPKIT_RUNS name"):
        file_lock(tmp_path / "x.lock")
