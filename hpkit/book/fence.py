"""A fence around a program: no network, and nothing to write to but its own desk.

Linux alone has what it is built of, namespaces, and a system may forbid those. Then the
program runs without a fence, and whoever asks is told so.
"""

import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

# Arguments: the desk, the place where the program finds it, what is hidden, "--", and
# the program. All that is there becomes read-only, but for the desk.
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
    else mount --bind /dev/null "$1"; fi
    shift
done
shift
mount -t tmpfs tmpfs /dev/shm
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
# With its own numbers of processes, all that it started ends with it.
ENDING = ["--pid", "--fork", "--kill-child"]


def fenced(
    desk: Path, place: Path, hidden: list[Path], program: list[str]
) -> list[str]:
    """The command that runs a program behind the fence.

    desk: the folder that it may write to. place: an empty folder, where it finds that.
    hidden: folders and files that it must not see.
    """
    servers = [path for path in SERVERS if path.exists()]
    names = [str(path) for path in (desk, place, *hidden, *servers)]
    unshare = ["unshare", *NAMESPACES, *ENDING]
    return [*unshare, "sh", "-c", SCRIPT, "fence", *names, "--", *program]


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
