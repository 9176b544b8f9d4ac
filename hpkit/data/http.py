"""Files from a server: a failed request is tried again, a broken download goes on.

Every failure ends in one sentence, a ConnectionError. What had arrived until then is
kept.
"""

import re
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests
from remotezip import RemoteZip, RemoteZipError
from tqdm.auto import tqdm
from urllib3.exceptions import HTTPError

from hpkit.data.archives import DAMAGED, zip_listing
from hpkit.files import writing
from hpkit.waiting import told

# Of a request: tries, the pause before the second (seconds, then doubled), its limit.
TRIES, PAUSE, TIMEOUT = 8, 1.0, 30.0
REASON = 110  # characters of what went wrong that are told
CHUNK = 1 << 16  # bytes written at a time: no more is lost where a connection breaks

# What is told of a server that does not answer within two seconds.
ANSWER = "an answer from {}; without one it is asked for two minutes; Ctrl-C gives up"

AGAIN = (408, 429)  # HTTP: too slow, too many; any other 4xx will not change

BROKEN = (  # what a cut or garbled answer ends in
    requests.RequestException,
    HTTPError,
    RemoteZipError,
    zipfile.BadZipFile,
    ConnectionError,
)

# Ranges and lengths are of the file itself, not of a compressed one.
AS_IT_IS = {"Accept-Encoding": "identity"}


@dataclass(frozen=True)
class Published:
    """What a server says of a file.

    size: in bytes. ranges: whether the server gives parts of it. sha256: its checksum,
    if the server names one.
    """

    size: int
    ranges: bool
    sha256: str | None


def probe(url: str) -> Published:
    """What a server says of a file when it is asked for the first byte.

    Raises ConnectionError.
    """

    def ask() -> Published:
        with requests.get(
            url,
            headers={"Range": "bytes=0-0", **AS_IT_IS},
            stream=True,
            timeout=TIMEOUT,
        ) as answer:
            answer.raise_for_status()
            ranges = answer.status_code == 206
            size = answer.headers.get(
                "Content-Range" if ranges else "Content-Length", ""
            )
            size = size.split("/")[-1]
            if not size.isdigit():
                raise ConnectionError("the server does not say how large the file is")
            tag = [
                a.headers.get("X-Linked-ETag", "") for a in (*answer.history, answer)
            ]
            # Hugging Face has a checksum there.
            sums = [t.strip('"') for t in tag if len(t.strip('"')) == 64]
            return Published(int(size), ranges, sums[0] if sums else None)

    with told(ANSWER.format(url)):
        return patiently(ask, url)


def patiently(
    action: Callable[[], object], what: str, gained: Callable[[], int] = lambda: 0
) -> object:
    """The action's result, after as many tries as a failing server needs.

    The pause before each try is longer than the last one. gained: grows while something
    comes through, and then a try was no failure. Raises ConnectionError.
    """
    tries, most = 0, gained()
    while True:
        try:
            return action()
        except BROKEN as error:
            tries = 1 if gained() > most else tries + 1
            most = max(most, gained())
            said = f"{what}: {reason(error)}"
            if is_final(error):
                raise ConnectionError(
                    f"{said}; asking again will not help: has it moved?"
                ) from error
            if tries == TRIES:
                raise ConnectionError(
                    f"{said} (tried {tries} times); what was fetched is kept, "
                    "and the same call goes on"
                ) from error
            if tries == 2 and most:  # in the middle of a download
                print(f"{said}; trying again, Ctrl-C gives up", file=sys.stderr)
            time.sleep(PAUSE * 2 ** (tries - 1))


def reason(error: BaseException) -> str:
    """What went wrong, in a few words.

    A request's error wraps others and repeats the whole address; the reason is inside.
    """
    inner = error.args[0] if error.args else error
    cause = getattr(inner, "reason", None)
    said = str(cause or error) or type(error).__name__
    said = re.sub(r"^(<[^>]*>|\w+\([^)]*\)): ", "", said)
    if len(said) > REASON:
        said = f"{said[:REASON]} ..."
    # Only a name that is not found: an address may have "resolve" in it.
    return f"{said}; is there a network?" if cause and "resol" in said else said


def is_final(error: BaseException) -> bool:
    """Whether asking again is no use.

    That is so where the server refused for good (a 4xx that is not about time), or
    where the address is not valid.
    """
    answers = [getattr(e, "response", None) for e in (error, error.__context__)]
    refused = [
        400 <= a.status_code < 500 and a.status_code not in AGAIN
        for a in answers
        if a is not None
    ]
    return any(refused) or isinstance(error, ValueError)


def fetch_file(url: str, part: Path, size: int) -> None:
    """Bring `part` to `size` bytes; what is already there is not fetched again."""

    def have() -> int:
        return part.stat().st_size if part.exists() else 0

    if have() > size:
        part.unlink()  # of another file
    with tqdm(total=size, unit="B", unit_scale=True, desc=part.name) as bar:
        patiently(lambda: have() == size or _continue(url, part, size, bar), url, have)


def _continue(url: str, part: Path, size: int, bar: tqdm) -> None:
    """Append what is missing of a file.

    Starts again from the beginning where the server cannot give the rest alone.
    """
    have = part.stat().st_size if part.exists() else 0
    with requests.get(
        url,
        headers={"Range": f"bytes={have}-", **AS_IT_IS},
        stream=True,
        timeout=TIMEOUT,
    ) as answer:
        answer.raise_for_status()
        goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        bar.n = have if goes_on else 0
        with writing(part.parent), part.open("ab" if goes_on else "wb") as file:
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
                file.flush()
                bar.update(len(chunk))
            if file.tell() != size:
                raise ConnectionError(f"broke off at {file.tell():,} of {size:,} bytes")


def get(url: str) -> bytes:
    """The content of a small file."""

    def ask() -> bytes:
        answer = requests.get(url, timeout=TIMEOUT)
        answer.raise_for_status()
        return answer.content

    with told(ANSWER.format(url)):
        return patiently(ask, url)


class RemoteArchive:
    """A zip on a server, read by HTTP ranges: only the files asked for travel.

    Its directory is read twice before it is believed, and every file is compared with
    it.
    """

    def __init__(self, url: str) -> None:
        self.url, self.session = url, requests.Session()
        if not probe(url).ranges:
            raise ConnectionError(
                f"{url}: this server cannot give parts of a file; fetch the "
                "whole one: hpkit download hpatches --whole"
            )
        with told(ANSWER.format(url)):
            self.zip = patiently(self._believed, url)
        self.reader = self.zip

    def _believed(self) -> zipfile.ZipFile:
        first, second = self._open(), self._open()
        if zip_listing(first) != zip_listing(second):
            raise ConnectionError("two readings of its directory differ")
        return second

    def _open(self) -> zipfile.ZipFile:
        try:
            archive = RemoteZip(
                self.url, session=self.session, timeout=TIMEOUT, headers=AS_IT_IS
            )
        except DAMAGED as error:
            raise ConnectionError(f"not a zip, or a damaged one ({error})") from error
        archive.filename = self.url  # for messages
        return archive

    def read(self, path: zipfile.Path) -> bytes:
        """One file's bytes, compared with their checksum in the first directory."""

        def attempt() -> bytes:
            try:
                return self.reader.read(self.zip.getinfo(path.at))
            except (*BROKEN, *DAMAGED) as error:
                self.reader = self._open()  # the connection has lost its place
                raise (
                    error if isinstance(error, BROKEN) else ConnectionError(str(error))
                ) from error

        return patiently(attempt, f"{self.url}: {path.at}")
