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
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

PATIENCE = 2.0  # seconds of waiting in silence
SHORT = 0.2  # seconds that a thread waits without looking up

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say what is waited for, in one line, if the block takes over two seconds."""
    timer = threading.Timer(PATIENCE, _say, [f"waiting for {what}"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Turn:
    """A lock of this process; the thread that has it may take it again.

    Unlike threading.RLock, it can be given back from any thread: a generator that has
    it may be thrown away elsewhere. A forked process starts with one that is free.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock, self._owner, self._depth = threading.Lock(), None, 0

    def take(self, timeout: float = -1) -> bool:
        """Whether it was got within `timeout` seconds; -1 waits as long as it takes."""
        if self._owner is not threading.current_thread():
            if not self._lock.acquire(blocking=False) and not self._wait(timeout):
                return False
            self._owner = threading.current_thread()
        self._depth += 1
        return True

    def _wait(self, timeout: float) -> bool:
        ends = math.inf if timeout < 0 else time.monotonic() + timeout
        with told(f"{self.what} in this process to end; Ctrl-C gives up"):
            # In short turns: on Windows, Ctrl-C does not reach a thread that waits.
            while (left := ends - time.monotonic()) > 0:
                if self._lock.acquire(timeout=min(SHORT, left)):
                    return True
        return False

    def give_back(self) -> None:
        """The next one may have it, once it was given back as often as it was taken.

        In a forked process, what its parent had taken is free already.
        """
        if not self._depth:
            return
        self._depth -= 1
        if not self._depth:
            self._owner = None
            self._lock.release()

    def __enter__(self) -> "Turn":
        self.take()
        return self

    def __exit__(self, *error: object) -> None:
        self.give_back()


# A run is trained and scored in one turn, an epoch or a pass of patches in a shorter
# one. Who wants both, or a file's lock as well, takes them in this order: TRAINING,
# the file's, NETWORKS.
TRAINING = Turn("another training")
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
