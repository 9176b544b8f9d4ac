"""A file server on loopback that fails as real ones do, and small archives for it to serve."""

import io
import re
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

from hpkit.data.patches import PATCH_TYPES

NAMES = ("i_ant", "i_bee", "i_cat", "v_dog", "v_eel", "v_fox")


@dataclass
class Answer:
    """What is about to be sent; a fault changes it."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Site:
    """files: by path. ranges: parts are given. faults: the next answers go through these.

    pause: seconds before each 64 kB.
    """

    files: dict[str, bytes]
    ranges: bool = True
    faults: list[Callable[[Answer], None]] = field(default_factory=list)
    always: Callable[[Answer], None] | None = None
    pause: float = 0.0
    url: str = ""
    requests: list[str] = field(default_factory=list)
    sent: int = 0

    def answer(self, path: str, wanted: str | None) -> Answer:
        if path not in self.files:
            return Answer(404, {}, b"")
        whole = self.files[path]
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
        if not (found and self.ranges):
            return Answer(200, {"Content-Length": str(len(whole))}, whole)
        first, last = found.groups()
        start = int(first) if first else max(0, len(whole) - int(last))
        stop = min(int(last) + 1 if first and last else len(whole), len(whole))
        return Answer(206, {"Content-Length": str(stop - start),
                            "Content-Range": f"bytes {start}-{stop - 1}/{len(whole)}"},
                      whole[start:stop])


@contextmanager
def serve(files: dict[str, bytes], **options: object) -> Iterator[Site]:
    """A site at `site.url` until the end of the block."""
    site = Site(files, **options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # it would wait 40 ms before each body

        def do_GET(self) -> None:
            answer = site.answer(self.path, self.headers.get("Range"))
            site.requests.append(self.path)
            fault = site.faults.pop(0) if site.faults else site.always
            if fault:
                fault(answer)
            self.send_response(answer.status)
            for name, value in ({"Content-Length": "0"} | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            for start in range(0, len(answer.body), 1 << 16):
                time.sleep(site.pause)
                self.wfile.write(answer.body[start:start + (1 << 16)])
            site.sent += len(answer.body)
            self.close_connection = len(answer.body) != int(answer.headers.get(
                "Content-Length", 0))

        def handle(self) -> None:
            with suppress(ConnectionError):  # a client that was killed
                super().handle()

        def log_message(self, *args: object) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


def cut(at: int) -> Callable[[Answer], None]:
    """The connection ends after so many bytes of the body."""
    def fault(answer: Answer) -> None:
        answer.body = answer.body[:at]

    return fault


def status(number: int) -> Callable[[Answer], None]:
    """Another status and no body."""
    def fault(answer: Answer) -> None:
        answer.status, answer.headers, answer.body = number, {}, b""

    return fault


def flipped(share: float) -> Callable[[Answer], None]:
    """One bit of the body, there, is another."""
    def fault(answer: Answer) -> None:
        body = bytearray(answer.body)
        if len(body) > 1:
            body[int(share * (len(body) - 1))] ^= 4
        answer.body = bytes(body)

    return fault


def strips(points: int, seed: int, width: int = 65) -> dict[str, bytes]:
    """A sequence as PNG files: {"ref.png": ..., ...}."""
    random = np.random.RandomState(seed)
    patches = random.randint(0, 256, (16, points * width, width), np.uint8)
    files = {}
    for patch_type, strip in zip(PATCH_TYPES, patches, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(strip).save(buffer, "png", compress_level=1)
        files[f"{patch_type}.png"] = buffer.getvalue()
    return files


def archive(sequences: dict[str, dict[str, bytes]], root: str = "hpatches-release/",
            extra: dict[str, bytes] | None = None) -> bytes:
    """A zip of these sequences in a folder, like the official one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name, files in sequences.items():
            target.writestr(f"{root}{name}/", b"")
            for file, content in files.items():
                target.writestr(f"{root}{name}/{file}", content)
        for name, content in (extra or {}).items():
            target.writestr(name, content)
    return buffer.getvalue()


SEQUENCES = {name: strips(3 + number, number) for number, name in enumerate(NAMES)}
RELEASE = archive(SEQUENCES, extra={"__MACOSX/x": b"", "hpatches-release/README": b"hello"})
