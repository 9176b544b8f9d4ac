"""A fence around a program: no network, and nothing to write to but its own desk.

Linux alone has what it is built of, namespaces, and a system may forbid those. Then the
program runs without a fence, and whoever asks is told so.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

# Arguments: the desk, the place where the program finds it, what is hidden, "--", and
# the program. All that is there becomes read-only, but for the desk. A server may have
# gone since it was listed. With terminals of its own, it does not reach the teacher's.
SCRIPT = r"""
set -e
desk=$1 place=$2
shift 2
while read -r _ target _; do
    mount -o remount,bind,ro "$(printf %b "$target")" 2>/dev/null || true
done < /proc/self/mounts
mount --bind "$desk" "$place"
mount -o remount,bind,rw "$place"
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then mount -t tmpfs -o ro tmpfs "$1"
    else mount --bind /dev/null "$1" || [ ! -e "$1" ]; fi
    shift
done
shift
mount -t tmpfs tmpfs /dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts
mount --bind /dev/pts/ptmx /dev/ptmx
cd "$place"
[ -w . ] && [ ! -w / ] && [ ! -w "$HOME" ]
HOME=$place/home
export HOME
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""
# Through these files a program would reach servers that act for it, network or not.
SERVERS = [
    Path("/run") / name
    for name in ("docker.sock", "containerd", "podman", "dbus", "user")
]
NAMESPACES = ["--user", "--map-root-user", "--net", "--ipc", "--mount", "--mount-proc"]
# With its own numbers of processes, all that it started ends with it. It ends with
# hpkit, too, however that ends.
ENDING = ["--pid", "--fork", "--kill-child"]
WITH_HPKIT = ["setpriv", "--pdeathsig", "KILL"]


def fenced(
    desk: Path, place: Path, hidden: list[Path], program: list[str]
) -> list[str]:
    """The command that runs a program behind the fence.

    desk: the folder that it may write to. place: an empty folder, where it finds that.
    hidden: folders and files that it must not see.
    """
    servers = [path for path in SERVERS if path.exists()]
    names = [str(path) for path in (desk, place, *hidden, *servers, *sockets())]
    unshare = [*WITH_HPKIT, "unshare", *NAMESPACES, *ENDING]
    return [*unshare, "sh", "-c", SCRIPT, "fence", *names, "--", *program]


def sockets() -> list[Path]:
    """The sockets that programs listen at now: tmux's, the screen's, an ssh agent's."""
    listed = os.fsdecode(Path("/proc/net/unix").read_bytes()).splitlines()
    names = {line.partition(" /")[2] for line in listed} - {""}
    return [path for name in sorted(names) if _is_socket(path := Path("/", name))]


def _is_socket(path: Path) -> bool:
    try:
        return path.is_socket()
    except OSError:  # where this account cannot look, a hand-in cannot either
        return False


@cache
def missing() -> str:
    """Why there is no fence on this system; "" where there is one."""
    if not sys.platform.startswith("linux"):
        return f"{sys.platform} has no namespaces"
    needed = ("unshare", "setpriv", "mount", "sh")
    absent = [name for name in needed if not shutil.which(name)]
    if absent:
        return f"{absent[0]} is not installed"
    with tempfile.TemporaryDirectory() as desk, tempfile.TemporaryDirectory() as place:
        command = fenced(Path(desk), Path(place), [], ["true"])
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return ""
    said = done.stderr.strip().splitlines() or ["it could not be closed"]
    return f"this system forbids it: {said[-1]}"
