"""Files from a server: asked for again where the way to it fails, gone on with where it broke off.

Every failure ends in one sentence, a ConnectionError, and what had come until then is kept.
"""

import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests
from remotezip import RemoteZip, RemoteZipError
from tqdm.auto import tqdm
from urllib3.exceptions import HTTPError

from hpkit.archives import DAMAGED, zip_listing
from hpkit.layout import writing

TRIES, PAUSE, TIMEOUT = 8, 1.0, 30.0  # of a request: pause before the second in seconds, doubled
CHUNK = 1 << 16  # bytes written at a time: of a connection that breaks, less than this is lost
AGAIN = (408, 429)  # HTTP: too slow, too many; any other 4xx will not change
BROKEN = (requests.RequestException, HTTPError, RemoteZipError, zipfile.BadZipFile,
          ConnectionError)  # what a cut or garbled answer ends in
AS_IT_IS = {"Accept-Encoding": "identity"}  # ranges and lengths are of the file, not compressed


@dataclass(frozen=True)
class Published:
    """What a server says of a file: bytes, whether it gives parts, a checksum if it has one."""

    size: int
    ranges: bool
    sha256: str | None


def probe(url: str) -> Published:
    """Ask for the first byte. Raises ConnectionError."""
    def ask() -> Published:
        with requests.get(url, headers={"Range": "bytes=0-0", **AS_IT_IS}, stream=True,
                          timeout=TIMEOUT) as answer:
            answer.raise_for_status()
            ranges = answer.status_code == 206
            size = answer.headers.get("Content-Range" if ranges else "Content-Length", "")
            size = size.split("/")[-1]
            if not size.isdigit():
                raise ConnectionError("the server does not say how large the file is")
            tag = [a.headers.get("X-Linked-ETag", "") for a in (*answer.history, answer)]
            sums = [t.strip('"') for t in tag if len(t.strip('"')) == 64]  # of Hugging Face
            return Published(int(size), ranges, sums[0] if sums else None)

    return patiently(ask, url)


def patiently(action: Callable[[], object], what: str,
              gained: Callable[[], int] = lambda: 0) -> object:
    """The action's result; where a server or the way to it fails, try again, and wait longer.

    gained: grows while something comes through: then it is no failure. Raises ConnectionError.
    """
    tries, most = 0, gained()
    while True:
        try:
            return action()
        except BROKEN as error:
            tries = 1 if gained() > most else tries + 1
            most = max(most, gained())
            said = f"{what}: {str(error) or type(error).__name__}"
            if is_final(error):
                raise ConnectionError(f"{said}; asking again will not help: has it moved?"
                                      ) from error
            if tries == TRIES:
                raise ConnectionError(f"{said} (tried {tries} times); what was fetched is kept, "
                                      "and the same call goes on") from error
            time.sleep(PAUSE * 2 ** (tries - 1))


def is_final(error: BaseException) -> bool:
    """Whether a server refused for good (a 4xx that is not about time), or the address is none."""
    answers = [getattr(e, "response", None) for e in (error, error.__context__)]
    refused = [400 <= a.status_code < 500 and a.status_code not in AGAIN
               for a in answers if a is not None]
    return any(refused) or isinstance(error, ValueError)


def fetch_file(url: str, part: Path, size: int) -> None:
    """Bring `part` to `size` bytes; what is there already is not fetched again."""
    def have() -> int:
        return part.stat().st_size if part.exists() else 0

    if have() > size:
        part.unlink()  # of another file
    with tqdm(total=size, unit="B", unit_scale=True, desc=part.name) as bar:
        patiently(lambda: have() == size or _continue(url, part, size, bar), url, have)


def _continue(url: str, part: Path, size: int, bar: tqdm) -> None:
    """Append what is missing; from the start where the server cannot give the rest alone."""
    have = part.stat().st_size if part.exists() else 0
    with requests.get(url, headers={"Range": f"bytes={have}-", **AS_IT_IS}, stream=True,
                      timeout=TIMEOUT) as answer:
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
    """A small file."""
    def ask() -> bytes:
        answer = requests.get(url, timeout=TIMEOUT)
        answer.raise_for_status()
        return answer.content

    return patiently(ask, url)


class RemoteArchive:
    """A zip on a server, read by HTTP ranges: only the files asked for travel.

    Its directory is read twice before it is believed, and every file is compared with it.
    """

    def __init__(self, url: str) -> None:
        self.url, self.session = url, requests.Session()
        if not probe(url).ranges:
            raise ConnectionError(f"{url}: this server cannot give parts of a file; fetch the "
                                  "whole one: python -m hpkit.download hpatches --whole")
        self.zip = patiently(self._believed, url)
        self.reader = self.zip

    def _believed(self) -> zipfile.ZipFile:
        first, second = self._open(), self._open()
        if zip_listing(first) != zip_listing(second):
            raise ConnectionError("two readings of its directory differ")
        return second

    def _open(self) -> zipfile.ZipFile:
        try:
            archive = RemoteZip(self.url, session=self.session, timeout=TIMEOUT, headers=AS_IT_IS)
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
                raise error if isinstance(error, BROKEN) else ConnectionError(str(error)) from error

        return patiently(attempt, f"{self.url}: {path.at}")
