"""HPatches over HTTP: only what is needed travels, and whatever breaks, the next call goes on."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
import requests
import web
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import MaxRetryError, NameResolutionError
from web import NAMES, RELEASE, SEQUENCES, cut, flipped, serve, status

from hpkit import files as written
from hpkit import waiting
from hpkit.__main__ import main
from hpkit.data import hpatches, http, tasks
from hpkit.data.archives import stamp_of
from hpkit.data.sets import load, read_sequences

SPLIT = {"a": {"name": "a", "train": list(NAMES[:4]), "test": list(NAMES[4:])}}
SPLITS = json.dumps(SPLIT).encode()
FILE, TASKS = "/hpatches-release.zip", "/tasks/"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(http, "PAUSE", 0.0)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A server with the archive and splits.json, and an empty data folder."""
    with serve({FILE: RELEASE, f"{TASKS}splits/splits.json": SPLITS}) as site:
        monkeypatch.setenv("HPKIT_DATA", str(tmp_path / "data"))
        monkeypatch.setenv("HPKIT_HPATCHES_URL", site.url + FILE)
        monkeypatch.setenv("HPKIT_TASKS_URL", site.url + TASKS)
        published = tasks.official_ids() | {"splits/splits.json": tasks.blob_id(SPLITS)}
        monkeypatch.setattr(hpatches, "official_ids", lambda: published)
        yield site


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """The digest of all arrays, from the same files in a folder on disk."""
    folder = tmp_path_factory.mktemp("truth")
    for name, files in SEQUENCES.items():
        (folder / name).mkdir()
        for file, content in files.items():
            (folder / name / file).write_bytes(content)
    return content_of(read_sequences(folder, NAMES))


def content_of(patches) -> str:
    return hashlib.sha256(b"".join([patches["clean"].tobytes(), patches["noisy"].tobytes(),
                                    patches.contrast.tobytes()])).hexdigest()


def fetched() -> str:
    return content_of(read_sequences("hpatches", NAMES))


def test_what_travels_is_what_is_on_disk(site, truth):
    assert fetched() == truth


def test_one_sequence_costs_one_sequence(site):
    read_sequences("hpatches", ["i_ant"])
    largest = sum(map(len, SEQUENCES["i_ant"].values()))
    assert largest < site.sent < largest + 220_000  # and its directory, three times 64 kB
    site.sent = 0
    read_sequences("hpatches", ["i_ant"])
    assert site.sent == 0


def test_load_takes_the_split_and_then_needs_no_network(site):
    data = load("hpatches")
    assert data.test.names == NAMES[4:] and data.validation.names == NAMES[:1]
    site.always = status(500)
    assert content_of(load("hpatches").test) == content_of(data.test)


def test_contrast_is_measured_at_full_size(site):
    found = read_sequences("hpatches", ["i_bee"]).contrast
    with zipfile.ZipFile(web.io.BytesIO(RELEASE)) as archive:
        ref = np.asarray(web.Image.open(archive.open("hpatches-release/i_bee/ref.png")))
    assert found.tolist() == [patch.std() for patch in ref.reshape(-1, 65, 65)]


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 60_000), min_size=1, max_size=5), st.booleans())
def test_a_connection_cut_anywhere(truth, tmp_path_factory, cuts, whole):
    folder = tmp_path_factory.mktemp("data")
    with serve({FILE: RELEASE}) as site, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPKIT_DATA", str(folder))
        patch.setenv("HPKIT_HPATCHES_URL", site.url + FILE)
        site.faults = [cut(n) for n in cuts]
        hpatches.fetch(NAMES, whole=whole)
        assert fetched() == truth


def test_a_broken_whole_download_goes_on_where_it_was(site, truth):
    half = len(RELEASE) // 2
    site.faults = [lambda answer: None, cut(half)]
    hpatches.fetch(NAMES, whole=True)
    assert fetched() == truth
    assert len(RELEASE) < site.sent < len(RELEASE) + http.CHUNK + 140_000  # and its directory


def test_one_that_only_trickles_still_ends(site, truth):
    """Every answer breaks off, each time a little later: no failure while something comes."""
    site.always = cut(len(RELEASE) // 20)
    hpatches.fetch(NAMES, whole=True)
    assert fetched() == truth


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("number", [503, 429, 500])
def test_a_busy_server_is_asked_again(site, truth, number, whole):
    site.faults = [status(number), status(number)]
    hpatches.fetch(NAMES, whole=whole)
    assert fetched() == truth


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(("number", "asked"), [(404, 1), (403, 1), (503, http.TRIES)])
def test_a_server_that_does_not_answer(site, truth, number, asked, whole):
    site.always = status(number)
    advice = "the same call goes on" if number == 503 else "asking again will not help"
    with pytest.raises(ConnectionError, match=f"{number}.*{advice}"):
        hpatches.fetch(NAMES, whole=whole)
    assert len(site.requests) == asked
    site.always = None
    hpatches.fetch(NAMES, whole=whole)
    assert fetched() == truth


def test_no_server_at_all(site, truth, monkeypatch):
    right = os.environ["HPKIT_HPATCHES_URL"]
    monkeypatch.setenv("HPKIT_HPATCHES_URL", "http://127.0.0.1:9/x.zip")
    with pytest.raises(ConnectionError, match=r"x\.zip: .*refused.*the same call goes on"):
        load("hpatches")
    monkeypatch.setenv("HPKIT_HPATCHES_URL", right)
    assert fetched() == truth


def test_an_address_with_resolve_in_it_is_no_reason_to_ask_for_a_network():
    gone = requests.HTTPError("404 Client Error: Not Found for url: https://h.org/resolve/main/x.zip")
    assert "is there a network" not in http.reason(gone)


def test_without_a_network_the_sentence_is_short(monkeypatch):
    def no_network(url, **options):
        connection = HTTPSConnection("raw.githubusercontent.com", 443)
        why = NameResolutionError(connection.host, connection, OSError(-3, "Temporary failure"))
        raise requests.ConnectionError(MaxRetryError(connection, url, why))

    monkeypatch.setattr("requests.get", no_network)
    with pytest.raises(ConnectionError) as told:
        http.get(f"{hpatches.TASKS}splits/splits.json")
    assert len(str(told.value)) < 300
    assert "resolve 'raw.githubusercontent.com' ([Errno -3] Temp" in str(told.value)
    assert "is there a network? (tried 8 times); what was fetched is kept" in str(told.value)


@pytest.mark.parametrize(("error", "said"), [
    (ConnectionError(), "ConnectionError"),
    (ConnectionError("broke off at 5 of 9 bytes"), "broke off at 5 of 9 bytes"),
    (requests.HTTPError("503 Server Error: " + "x" * 900), "503 Server Error: " + "x" * 92 + " ..."),
    (requests.ConnectionError(("Connection aborted.", 1)), "('Connection aborted.', 1)"),
])
def test_a_reason_is_told_in_a_few_words(error, said):
    assert http.reason(error) == said


def test_a_server_without_ranges_asks_for_the_whole(site, truth):
    site.ranges = False
    with pytest.raises(ConnectionError, match=r"cannot give parts of a file; .* --whole"):
        fetched()
    site.faults = [lambda answer: None, cut(1000)]
    hpatches.fetch(NAMES, whole=True)
    assert fetched() == truth


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("more", [-7, 7])
def test_a_server_that_says_a_wrong_length(site, truth, more, whole):
    """Said too long, all bytes came, and count; said too short, some did not, and never count."""
    def wrong(answer):
        answer.headers["Content-Length"] = str(max(0, len(answer.body) + more))

    site.faults = [lambda answer: None, wrong, wrong, wrong]
    hpatches.fetch(NAMES, whole=whole)
    assert fetched() == truth


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_flipped_bit_is_noticed_and_asked_for_again(site, truth, share):
    site.faults = [lambda answer: None] * 5 + [flipped(share)]
    assert fetched() == truth


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 12), st.floats(0, 1), st.booleans())
def test_one_flipped_bit_anywhere(truth, tmp_path_factory, answer, share, whole):
    """In a directory, a file or its header: the call succeeds or refuses, the next one succeeds."""
    with serve({FILE: RELEASE}) as site, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPKIT_DATA", str(tmp_path_factory.mktemp("data")))
        patch.setenv("HPKIT_HPATCHES_URL", site.url + FILE)
        site.faults = [lambda answer: None] * answer + [flipped(share)]
        with suppress(ValueError, ConnectionError):
            hpatches.fetch(NAMES[:2], whole=whole)
        site.faults = []
        hpatches.fetch(NAMES, whole=whole)
        assert fetched() == truth


def test_an_archive_that_changes_on_the_way_is_refused(site):
    def swap(answer):
        cut(100)(answer)
        site.files[FILE] = web.archive({name: web.strips(3, 77) for name in NAMES})

    site.faults = [lambda answer: None] * 9 + [swap]
    with pytest.raises(ConnectionError, match="i_ant"):
        fetched()


def test_an_array_that_is_lost_is_fetched_again(site, truth, tmp_path):
    hpatches.fetch(NAMES)
    (tmp_path / "data" / "hpatches" / "arrays" / "v_dog_clean.npy").unlink()
    assert fetched() == truth


def test_an_archive_that_is_there_needs_no_server(site, truth, tmp_path, monkeypatch):
    monkeypatch.setenv("HPKIT_HPATCHES_URL", "http://127.0.0.1:9/x.zip")
    (tmp_path / "data" / "hpatches").mkdir(parents=True)
    (tmp_path / "data" / "hpatches" / "hpatches-release.zip").write_bytes(RELEASE)
    assert len(hpatches.archive_version()) == 8 and fetched() == truth


def test_a_file_that_is_always_damaged_is_never_taken(site, truth):
    site.faults = [lambda answer: None] * 2
    site.always = flipped(0.5)
    with pytest.raises((ConnectionError, ValueError)):
        fetched()
    site.always = None
    assert fetched() == truth


def test_a_damaged_archive_is_deleted_and_fetched_again(site, truth, tmp_path):
    site.always = lambda answer: len(answer.body) > 1_000_000 and flipped(0.3)(answer)
    with pytest.raises(ValueError, match=r"damaged|not a whole zip"):
        hpatches.fetch(NAMES, whole=True)
    assert not list((tmp_path / "data").rglob("*.zip")) + list((tmp_path / "data").rglob("*.part"))
    site.always = None
    hpatches.fetch(NAMES, whole=True)
    assert fetched() == truth


def test_a_published_checksum_is_compared(site, truth):
    right = hashlib.sha256(RELEASE).hexdigest()

    def tagged(value):
        return lambda answer: answer.headers.update({"X-Linked-ETag": f'"{value}"'})

    site.faults = [tagged("0" * 64)]
    with pytest.raises(ValueError, match=f"sha256 {right[:12]}..., expected 000000000000"):
        hpatches.fetch(NAMES, whole=True)
    site.faults = [tagged(right)]
    hpatches.fetch(NAMES, whole=True)
    assert fetched() == truth


@pytest.mark.parametrize("whole", [False, True])
def test_another_archive_under_the_same_address_is_refused(site, tmp_path, whole):
    read_sequences("hpatches", ["i_ant"])
    site.files[FILE] = web.archive(SEQUENCES | {"i_bee": web.strips(4, 99)})
    with pytest.raises(ValueError, match=r"directory .*, expected .* as when it was first used"):
        hpatches.fetch(["i_bee"], whole=whole)
    site.files[FILE] = RELEASE
    hpatches.fetch(["i_bee"], whole=whole)


def test_the_archive_stays_unless_asked(site, tmp_path, capsys):
    archive = tmp_path / "data" / "hpatches" / "hpatches-release.zip"
    options = ["hpatches", "--sequences", "i_ant", "--whole"]
    assert main(["download", *options]) == 0 and archive.read_bytes() == RELEASE
    assert main(["download", *options, "--delete-archive"]) == 0 and not archive.exists()
    assert "1 sequences are there" in capsys.readouterr().out


# --- the disk, and processes that die ------------------------------------------------------------

@pytest.mark.slow
@pytest.mark.parametrize(("path", "whole"), [("arrays/i_cat_noisy.npy.x.part", False),
                                             ("arrays/i_cat.stamp.x.part", False),
                                             ("source.json.x.part", False),
                                             ("hpatches-release.zip.part", True)])
def test_a_full_disk(site, truth, tmp_path, path, whole, monkeypatch):
    """/dev/full is one: every write to it fails."""
    monkeypatch.setattr(written.uuid, "uuid4", lambda: SimpleNamespace(hex="x"))
    full = tmp_path / "data" / "hpatches" / path
    full.parent.mkdir(parents=True)
    full.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"could not be written \(.*\); what is there is whole"):
        hpatches.fetch(NAMES, whole=whole)
    full.unlink(missing_ok=True)
    hpatches.fetch(NAMES, whole=whole)
    assert fetched() == truth


def test_too_small_a_disk_is_told_before(site, monkeypatch):
    monkeypatch.setattr(hpatches.shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000))
    with pytest.raises(OSError, match=r"0.00 GB free, expected .* HPKIT_DATA names another"):
        fetched()


FETCH = "from hpkit.data.hpatches import fetch; fetch({names!r}, whole={whole})"


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("whole", [False, True])
def test_killed_at_any_moment(site, truth, whole, tmp_path):
    """SIGKILL while it fetches and converts, each time a little after it has got somewhere."""
    chance, code = random.Random(0), FETCH.format(names=NAMES, whole=whole)
    site.pause, killed = 0.02, 0
    for _ in range(8):
        before = on_disk(tmp_path)
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        while process.poll() is None and on_disk(tmp_path) == before:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    hpatches.fetch(NAMES, whole=whole)
    assert fetched() == truth and killed >= 3


def on_disk(folder) -> dict:
    """Sizes by path; a file may go while it is looked at."""
    found = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            found[path] = path.stat().st_size
    return found


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True])
def test_two_at_once(site, truth, whole):
    site.pause, code = 0.005, FETCH.format(names=NAMES, whole=whole)
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert fetched() == truth


def test_a_shared_folder_is_only_read(site, tmp_path):
    load("hpatches")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    site.always = status(500)
    load("hpatches", points=2)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    assert before == after


# --- archives that mean harm, and the reader's own -----------------------------------------------

def linked() -> bytes:
    info = zipfile.ZipInfo("hpatches-release/i_ant/e1.png")
    info.external_attr = 0o120777 << 16
    return with_member(info, b"/etc/passwd")


def with_member(info: zipfile.ZipInfo | str, content: bytes) -> bytes:
    buffer = web.io.BytesIO(RELEASE)
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # a name that is there twice
        archive.writestr(info, content)
    return buffer.getvalue()


def large_png() -> bytes:
    buffer = web.io.BytesIO()
    web.Image.new("L", (32, 32 * 20_001)).save(buffer, "png")
    return buffer.getvalue()


HARM = {
    "up": (with_member("hpatches-release/../../outside.png", b"x"), "leads out of it"),
    "absolute": (with_member("/etc/x.png", b"x"), "leads out of it"),
    "drive": (with_member("C:\\x.png", b"x"), "leads out of it"),
    "link": (linked(), "holds the link"),
    "bomb": (with_member("hpatches-release/i_ant/t9.png", bytes(90_000_000)), "unpacks to 90,000,"),
    "tall": (web.archive(SEQUENCES | {"i_ant": SEQUENCES["i_ant"] | {"e1.png": large_png()}}),
             "640032 pixels high, expected .* at most 20000 patches"),
    "empty": (web.archive({}), "no folder with a ref.png|range"),
    "no zip": (b"<html>moved</html>", "zip"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HARM)
@pytest.mark.parametrize("whole", [False, True])
def test_harm_is_refused_and_nothing_is_left(site, truth, tmp_path, name, whole):
    site.files[FILE], sentence = HARM[name]
    with pytest.raises((ValueError, ConnectionError), match=sentence):
        hpatches.fetch(NAMES, whole=whole)
    assert not [*(tmp_path / "data").rglob("*.stamp"), *tmp_path.rglob("outside.png")]
    if name == "tall":  # a whole archive as far as anyone can tell: it is pinned
        shutil.rmtree(tmp_path / "data")
    site.files[FILE] = RELEASE
    hpatches.fetch(NAMES, whole=whole)
    assert fetched() == truth


def test_a_zip_of_ones_own_with_its_noise(tmp_path):
    """As N-HPatches came: another folder inside, noisy twins of its own, 32 pixels."""
    noisy = {f"{name[:-4]}_noise.png": data for name, data in web.strips(5, 7, 32).items()}
    clean = web.strips(5, 6, 32)
    path = tmp_path / "N-HPatches.zip"
    path.write_bytes(web.archive({"v_x": clean | noisy, "i_y": clean | noisy}, root="deep/data/"))
    (tmp_path / "splits.json").write_text('{"a": {"train": ["i_y"], "test": ["v_x"]}}')
    test = load(path).test
    strip = np.asarray(web.Image.open(web.io.BytesIO(noisy["h2_noise.png"])))
    assert np.array_equal(test["noisy"][:, 7], strip.reshape(5, 32, 32))


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 1), st.integers(0, 7))
def test_a_damaged_zip_of_ones_own(own_zip, share, bit):
    path, whole, right = own_zip
    damaged = bytearray(whole)
    damaged[int(share * (len(whole) - 1))] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        found = content_of(read_sequences(path, ["i_y", "v_x"]))
    except (ValueError, FileNotFoundError) as error:
        assert str(path) in str(error)
    else:
        assert found == right  # a name, a time: nothing that the patches are made of


@pytest.fixture(scope="module")
def own_zip(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "data.zip"
    path.write_bytes(web.archive({"v_x": web.strips(2, 6, 32), "i_y": web.strips(2, 7, 32)}))
    return path, path.read_bytes(), content_of(read_sequences(path, ["i_y", "v_x"]))


def test_a_sequence_that_is_gone_is_not_read_from_the_cache(tmp_path):
    (tmp_path / "i_ant").mkdir()
    for file, content in web.strips(4, 1).items():
        (tmp_path / "i_ant" / file).write_bytes(content)
    assert len(read_sequences(tmp_path, ["i_ant"])) == 4
    shutil.rmtree(tmp_path / "i_ant")
    with pytest.raises(FileNotFoundError, match="no folder for sequence 'i_ant'"):
        read_sequences(tmp_path, ["i_ant"])


def test_a_converted_folder_notices_what_changed(tmp_path):
    for name in ("i_ant", "i_bee"):
        (tmp_path / name).mkdir()
        for file, content in web.strips(4, 1).items():
            (tmp_path / name / file).write_bytes(content)
    before = read_sequences(tmp_path, ["i_ant"])["clean"].copy()
    other = stamp_of(tmp_path / "i_bee")
    for file, content in web.strips(4, 2).items():
        (tmp_path / "i_ant" / file).write_bytes(content)
    after = read_sequences(tmp_path, ["i_ant"])["clean"]
    assert before.shape == after.shape and not np.array_equal(before, after)
    assert other == stamp_of(tmp_path / "i_bee")


# --- official files ------------------------------------------------------------------------------

def test_official_files_are_verified(site, tmp_path, capsys, monkeypatch):
    names = [f"{stem}_split-a.csv" for stem in tasks.FILES.values()]
    site.files |= {TASKS + name: name.encode() for name in names}
    options = ["tasks", "--to", str(tmp_path / "tasks")]
    assert main(["download", *options]) == 2
    assert "expected the published cdea234c2f36" in capsys.readouterr().err
    ours = {name: tasks.blob_id(name.encode()) for name in names}
    published = hpatches.official_ids() | ours
    monkeypatch.setattr(hpatches, "official_ids", lambda: published)
    assert main(["download", *options]) == 0
    assert len(list((tmp_path / "tasks").iterdir())) == 6


def test_tasks_are_made_anew_and_compared(site, monkeypatch, capsys):
    few = {"pairs": 50, "queries": 2, "distractors": 5}
    monkeypatch.setattr("hpkit.commands.download.OFFICIAL", few)
    with pytest.warns(UserWarning, match=r"verif_pos_split-a.csv made from these patches are NOT"):
        assert main(["download", "hpatches"]) == 0
    made = tasks.unofficial(tasks.tasks_for(load("hpatches").test, **few), "a")
    assert len(made) == 5 and "byte for byte" not in capsys.readouterr().out
    monkeypatch.setattr(tasks, "unofficial", lambda *_: [])
    assert main(["download", "hpatches"]) == 0
    assert "the published ones, byte for byte" in capsys.readouterr().out


def test_the_command_line_says_one_sentence(site, capsys):
    assert main(["download", "hpatches", "--sequences", "i_nobody"]) == 2
    assert "has no sequence 'i_nobody'" in capsys.readouterr().err
    assert main(["download", "tasks"]) == 2
    assert main(["download", "hpatches", "--split", "z"]) == 2
    assert "unknown split 'z', expected one of a" in capsys.readouterr().err


def test_who_waits_for_a_server_is_told_in_one_line_and_how_to_give_up(monkeypatch, capsys):
    monkeypatch.setattr(waiting, "PATIENCE", 0.05)
    monkeypatch.setattr(http, "PAUSE", 0.05)
    monkeypatch.setattr(http, "TRIES", 3)
    for ask in (http.get, http.probe, http.RemoteArchive):
        with pytest.raises(ConnectionError, match="tried 3 times"):
            ask("http://127.0.0.1:9/x.zip")
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 1 and told[0].startswith("waiting for an answer from http://127.0.0.1:9/x")
        assert told[0].endswith("Ctrl-C gives up")
