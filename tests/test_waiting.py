"""Threads take turns, whoever waits is told for what, and a fork begins with a free lock."""

import os
import sys
import threading
import time

import pytest
from filelock import BaseFileLock, FileLock, Timeout

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


# --- a Ctrl-C between two lines ---------------------------------------------------------------


def interrupted(work, functions, number):
    """The Ctrl-C that came before the `number`th line of these functions, as `work` ran."""
    codes, lines = {function.__code__ for function in functions}, iter(range(number, -1, -1))

    def watch(frame, event, arg):
        if event == "line" and next(lines, None) == 0:
            raise KeyboardInterrupt
        return watch

    before = sys.gettrace()
    sys.settrace(lambda frame, event, arg: watch if frame.f_code in codes else None)
    try:
        work()
    except KeyboardInterrupt as error:
        return error
    finally:
        sys.settrace(before)
    return None


def ends_of(work, functions, is_free):
    """How many lines a Ctrl-C came before; each time it is free for others afterwards."""
    kept = []  # as a notebook keeps the last error, and with it all that was in use
    while error := interrupted(work, functions, len(kept)):
        kept.append(error)
        assert is_free(), f"still taken after a Ctrl-C before line {len(kept)}"
    assert is_free()
    return len(kept)


TAKING = (Turn.__enter__, Turn.take, Turn._claim, Turn._is_mine)


def test_a_ctrl_c_at_any_line_leaves_a_turn_free_for_others():
    turn = Turn("a test")

    def with_turn():
        with turn, turn:
            pass

    def is_free():
        return in_thread(lambda: turn.take(timeout=0.05) and not turn.give_back())

    assert ends_of(with_turn, TAKING, is_free) > 15
    assert ends_of(with_turn, [Turn.give_back, Turn._leave], is_free) > 9


def test_a_ctrl_c_within_a_turn_keeps_what_was_taken_before():
    turn = Turn("a test")

    def with_turn():
        with turn:
            pass

    with turn:
        kept = ends_of(with_turn, TAKING, lambda: not in_thread(lambda: turn.take(timeout=0.01)))
        assert kept > 5
    assert in_thread(lambda: turn.take(timeout=0.05))


def test_a_ctrl_c_as_a_turn_is_waited_for_leaves_it_to_its_owner():
    turn, started, ended = Turn("a test"), threading.Event(), threading.Event()

    def owner():
        with turn:
            started.set()
            ended.wait(10)

    thread = threading.Thread(target=owner)
    thread.start()
    started.wait(10)
    lines = ends_of(lambda: turn.take(timeout=0.01), [Turn._wait, *TAKING],
                    lambda: not turn.take(timeout=0.01))
    ended.set()
    thread.join(10)
    assert lines > 8 and in_thread(lambda: turn.take(timeout=0.5))


def test_a_ctrl_c_while_a_file_lock_is_taken_leaves_it_free(tmp_path):
    path = tmp_path / "x.lock"

    def is_free():
        with FileLock(path, timeout=0):
            return True

    def with_lock():
        with file_lock(path):
            pass

    taking = (file_lock, BaseFileLock.acquire)
    assert ends_of(with_lock, taking, is_free) > 5


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
    turn, path = Turn("another run"), tmp_path / "x.lock"
    in_thread(turn.take)
    assert not turn.take(timeout=0.3)
    with FileLock(path), pytest.raises(Timeout):
        raise_from_thread(lambda: file_lock(path, timeout=0.3))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "waiting for another run in this process to end; Ctrl-C gives up",
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
