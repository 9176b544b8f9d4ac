"""Packages from the registry of npm: fetched once, checked, and kept in the cache."""

import base64
import hashlib
import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import requests

from hpkit.data.http import fetch_file, probe
from hpkit.files import cache_folder, write_whole

REGISTRY = "https://registry.npmjs.org"
SHORT = 5.0  # seconds: a registry that has not answered by then is not there


@dataclass(frozen=True)
class Package:
    """One version of a package. sha512: of its archive, which npm calls integrity."""

    name: str
    version: str
    sha512: str

    @property
    def file(self) -> str:
        return f"{self.name}-{self.version}.tgz"


def parts(package: Package, *paths: str) -> list[bytes]:
    """Files of a package, by their paths in its archive.

    The environment variable npm_config_registry names another registry, as for npm.
    Raises ConnectionError where it cannot be had, and ValueError where it is not the
    package that was tried.
    """
    kept = cache_folder() / "npm" / package.file
    if not (kept.is_file() and _sha512(kept) == package.sha512):
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, _download(package))
    with tarfile.open(kept) as archive:
        return [archive.extractfile(path).read() for path in paths]


def _download(package: Package) -> bytes:
    told = os.environ.get("npm_config_registry")  # noqa: SIM112, npm's own name
    registry = (told or REGISTRY).rstrip("/")
    url = f"{registry}/{package.name}/-/{package.file}"
    try:
        requests.get(url, stream=True, timeout=SHORT).close()
    except requests.RequestException as error:
        raise ConnectionError(f"{registry} does not answer") from error
    with tempfile.TemporaryDirectory(prefix="hpkit-") as folder:
        archive = Path(folder) / package.file
        fetch_file(url, archive, probe(url).size)
        found = _sha512(archive)
        if found != package.sha512:
            raise ValueError(
                f"{url}: sha512 {found[:12]}..., expected {package.sha512[:12]}...: it "
                "is not the package that was tried"
            )
        return archive.read_bytes()


def _sha512(path: Path) -> str:
    with path.open("rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
