"""Taking turns: one thread trains at a time, and whoever waits long is told for what.

Torch has one random state, one number of threads and one train mode of a network for
the whole process. Two threads that train, or use a network, would change them under
each other's hands, and with them the results.
"""

import errno
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PATIENCE = 2.0  # seconds of waiting in silence
SHORT = 0.2  # seconds that a thread waits without looking up

OWNER = "owner"

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say what is waited for, in one line, if the block takes over two seconds."""
    timer = threading.Timer(PATIENCE, _say, [f"waiting for {what}"])
    timer.daemon = True
    try:
        timer.start()
        yield
    finally:
        timer.cancel()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Turn:
    """A lock of this process; the thread that has it may take it again.

    Unlike threading.RLock, it can be given back from any thread: a generator that has
    it may be thrown away elsewhere. A forked process starts with one that is free. A
    Ctrl-C while it is taken or given back does not keep it from others after the
    `with`, unless it comes in the first instant of giving back.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        # Who has it, under OWNER: setdefault looks and claims in one step, which no
        # Ctrl-C can split.
        self._owner: dict[str, threading.Thread] = {}
        self._depth = 0
        # Released when the owner gives the turn back, to wake those who wait early.
        self._news = threading.Lock()
        self._news.acquire()

    def take(self, timeout: float = -1) -> bool:
        """Whether it was got within `timeout` seconds; -1 waits as long as it takes."""
        had = self._depth if self._is_mine() else 0
        try:
            if not self._claim() and not self._wait(timeout):
                return False
            self._depth = had + 1
            return True
        except BaseException:  # a Ctrl-C between two of these lines
            if self._is_mine():
                self._leave(had)
            raise

    def _claim(self) -> bool:
        """Whether this thread has it now: it was free, or its own."""
        me = threading.current_thread()
        return self._owner.setdefault(OWNER, me) is me

    def _is_mine(self) -> bool:
        return self._owner.get(OWNER) is threading.current_thread()

    def _wait(self, timeout: float) -> bool:
        ends = math.inf if timeout < 0 else time.monotonic() + timeout
        with told(f"{self.what} in this process to end; Ctrl-C gives up"):
            # In short turns: on Windows, Ctrl-C does not reach a thread that waits.
            while (left := ends - time.monotonic()) > 0:
                self._news.acquire(timeout=min(SHORT, left))
                if self._claim():
                    return True
        return False

    def give_back(self) -> None:
        """The next one may have it, once it was given back as often as it was taken.

        In a forked process, what its parent had taken is free already.
        """
        owner, left = self._owner.get(OWNER), self._depth - 1
        if left < 0:
            return
        try:
            self._leave(left)
        except KeyboardInterrupt:  # it is given back first
            if self._owner.get(OWNER) is owner:
                self._leave(left)
            raise

    def _leave(self, depth: int) -> None:
        """Set how often it is taken. Safe to repeat."""
        self._depth = depth
        if not depth:
            self._owner.clear()
            with suppress(RuntimeError):  # the last news was not heard yet
                self._news.release()

    def __enter__(self) -> "Turn":
        had = self._depth if self._is_mine() else 0
        try:
            self.take()
            return self
        except BaseException:  # a Ctrl-C after it was taken: no `with` gives it back
            if self._is_mine():
                self._leave(had)
            raise

    def __exit__(self, *error: object) -> None:
        left = self._depth - 1
        try:
            self.give_back()
        except BaseException:  # a Ctrl-C before it was given back
            if self._is_mine() and self._depth > left:
                self._leave(left)
            raise


# A run is trained and scored in one turn, an epoch or a pass of patches in a shorter
# one. Who wants both, or a file's lock as well, takes them in this order: TRAINING,
# the file's, NETWORKS.
TRAINING = Turn("another run")
NETWORKS = Turn("another use of a network")


def file_lock(path: str | Path, timeout: float = -1) -> FileLock:
    """Take a lock between processes, the operating system's, at this path.

    It is free again when its process dies. Raises filelock's Timeout after `timeout`
    seconds, and OSError in one sentence on a file system that has no locks.
    """
    lock = FileLock(path, thread_local=False)
    try:
        try:
            return lock.acquire(timeout=0)
        except Timeout:
            with told(f"{path}, which another process holds; Ctrl-C gives up"):
                return lock.acquire(timeout=timeout)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise OSError(
            f"{path}: this file system has no locks ({error.strerror}); let "
            "HPKIT_CACHE and HPKIT_RUNS name folders on a local disk"
        ) from error
    except BaseException:  # a Ctrl-C once it was taken: no one else gives it back
        lock.release(force=True)
        raise
