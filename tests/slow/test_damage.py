"""Damaged files, and files made to harm: refused in a sentence that names the file, or harmless.

HPKIT_EXAMPLES is how often each kind of file is damaged (`make faults`: 1,000).
"""

import ctypes
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from damage import READERS, same_but_for_names
from faults import kills
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpkit import files
from hpkit.__main__ import main
from hpkit.book import parameters
from hpkit.data import arrays
from hpkit.data.patches import PATCH_TYPES
from hpkit.data.splits import read_split
from hpkit.evaluation.describe import denoise
from hpkit.evaluation.descriptor_files import read_descriptors
from hpkit.experiments import store
from hpkit.experiments.configs import DenoiserConfig
from hpkit.experiments.runs import run

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "hpkit"
EXAMPLES = int(os.environ.get("HPKIT_EXAMPLES", "100"))
KINDS = ("a byte changed", "cut", "zeros")


def damaged(content: bytes, kind: str, place: int, flip: int) -> bytes:
    """One byte is another, the rest is missing, or (as after a power cut) is zeros."""
    if kind == "a byte changed":
        return content[:place] + bytes([content[place] ^ flip]) + content[place + 1:]
    return content[:place] + (b"" if kind == "cut" else bytes(len(content) - place))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", READERS)
def test_damage_is_refused_or_does_not_matter(name, tmp_path_factory):
    """Never another result than before, but where the format has no checksum: `Reader.others`."""
    reader, folder = READERS[name], tmp_path_factory.mktemp("files")
    reader.make(folder)
    whole = {path: path.read_bytes() for path in sorted(folder.glob(reader.files))}
    right, seen = reader.read(folder), Counter()
    assert whole and reader.read(folder) == right

    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
              suppress_health_check=list(HealthCheck))
    @given(st.data())
    def damage(data):
        path = data.draw(st.sampled_from(list(whole)), "file")
        place = data.draw(st.integers(0, len(whole[path]) - 1), "place")
        kind = data.draw(st.sampled_from(KINDS), "kind")
        path.write_bytes(damaged(whole[path], kind, place, data.draw(st.integers(1, 255), "flip")))
        try:
            found = reader.read(folder)
        except (ValueError, OSError) as error:
            assert str(folder) in str(error), f"names no file: {error!r}"
            assert len(str(error).splitlines()) == 1, f"no sentence: {error}"
            seen["refused"] += 1
        else:
            assert found == right or reader.others, "taken for right"
            assert name != "splits.json" or same_but_for_names(right, found)
            seen["harmless" if found == right else reader.others] += 1
        finally:
            path.write_bytes(whole[path])

    damage()
    assert seen["refused"] >= EXAMPLES // 20
    assert reader.read(folder) == right
    if report := os.environ.get("HPKIT_FAULTS_REPORT"):  # of tests/faults/kills.py
        with Path(report).open("a") as file:
            file.write(json.dumps({"what": name, **seen}) + "\n")


# --- files that were made to harm ----------------------------------------------------------------

class Evil:
    """A pickle that creates a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def evil_array(path: Path) -> np.ndarray:
    return np.array([[Evil(path)]], dtype=object)


def test_nothing_is_ever_unpickled(tmp_path):
    """Not from arrays, descriptors or checkpoints; nor is there any other way in the package."""
    touched = tmp_path / "touched"
    np.save(tmp_path / "i_x_clean.npy", evil_array(touched), allow_pickle=True)
    with pytest.raises(ValueError, match=r"i_x_clean\.npy: no whole array .*Python objects"):
        arrays.open_array(tmp_path, "i_x", "clean")
    np.savez(tmp_path / "d.npz", **{f"i_x/{t}": evil_array(touched) for t in PATCH_TYPES})
    with pytest.raises(ValueError, match=r"d\.npz: i_x/ref is not an array of numbers"):
        read_descriptors(tmp_path / "d.npz", ["i_x"])
    torch.save({"state": Evil(touched), "history": []}, tmp_path / "checkpoint.pt")
    with pytest.raises(files.Damaged, match=r"checkpoint\.pt: not a whole checkpoint"):
        store.read_checkpoint(tmp_path)
    assert not touched.exists()
    # The clinic runs the cells of a chapter of this repository, which is its task.
    paths = set(PACKAGE.rglob("*.py")) - {PACKAGE / "record" / "clinic.py"}
    source = "\n".join(path.read_text() for path in paths)
    source = re.sub(r"[.`]eval\(|literal_eval\(", "", source)  # a network's mode; only literals
    for call in re.findall(r"(?:torch|np)\.load\(.*", source):
        assert "weights_only=True" in call or "allow_pickle=False" in call, call
    assert not re.search(r"\b(pickle|joblib|marshal|shelve|exec|eval)\b[.(]|yaml\.(unsafe_)?load\(|"
                         r"shell=True|extractall|\.extract\(|read_pickle", source)
    # Members are read, not unpacked, and of an archive whose checksum is known.
    assert [path.name for path in paths if "tarfile" in path.read_text()] == ["npm.py"]


@pytest.mark.parametrize(("name", "text", "sentence"), [
    ("lists", "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "b is .*expected a number, a text"),
    ("circle", "a: &a [*a]", "a is .*expected a number"),
    ("object", "a: !!python/object/apply:os.system [touch x]", "not valid YAML: could not determ"),
    ("deep", "a: " + "[" * 3000, "not valid YAML"),
    ("date", "a: 2026-99-99", "not valid YAML: month must be in"),
    ("dates", "a: 2026-01-01", "a is datetime.date"),
    ("nested", "a: {b: 1}", "a is {'b': 1}, expected a number"),
    ("bytes", "a: \x07", "not valid YAML"),
])
def test_parameter_files_that_mean_harm(name, text, sentence, tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence) as refused:
        parameters.read_values([], str(path))
    assert str(path) in str(refused.value) and len(str(refused.value)) < 1000


def test_a_bomb_of_yaml_costs_nothing(tmp_path):
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    for text in ("\n".join(lines), "- " + "\n- ".join(line[4:].lstrip() for line in lines)):
        (tmp_path / "toy.yaml").write_text(text)
        with pytest.raises(ValueError, match=r"toy\.yaml.*expected"):
            parameters.read_values([], str(tmp_path / "toy.yaml"))


@pytest.mark.parametrize(("name", "sentence"), [
    ("../../i_x", "no name of a folder"), ("/etc/i_x", "no name of a folder"), ("..", "no name"),
    ("C:i_x", "no name of a folder"), ("a\\b", "no name of a folder"), ("", "no name of a folder"),
    ("i_x\0", "no name of a folder"),
])
def test_names_of_sequences_that_lead_elsewhere(name, sentence, tmp_path):
    (tmp_path / "splits.json").write_text(json.dumps({"a": {"train": [name], "test": ["v_y"]}}))
    with pytest.raises(ValueError, match=rf"splits\.json: .*{sentence}"):
        read_split(tmp_path, "a")


@pytest.mark.parametrize(("text", "sentence"), [
    ('{"a": {"test": ["v_y"], "tset": ["v_z"]}}', "found 'tset'"),
    ('{"a": {"name": "b", "test": ["v_y"]}}', "found 'name': 'b' in 'a'"),
    ('{"a": {"test": ["v_y"]}, "a": {"test": ["v_z"]}}', "a name is there twice"),
    ('{"a": {"test": ["v_y", "v_y"]}}', "a name twice in 'a', test"),
    ("[" * 100_000, "maximum recursion|Expecting|deep"),
    ('{"a": ' * 100_000, "maximum recursion|Expecting|deep"),
])
def test_splits_that_are_not_what_they_seem(text, sentence, tmp_path):
    (tmp_path / "splits.json").write_text(text)
    with pytest.raises(ValueError, match=rf"splits\.json: expected JSON .*{sentence}"):
        read_split(tmp_path, "a")


def header(shape: tuple, kind: str = "<f4") -> bytes:
    """The head of a .npy file that says so, and nothing behind it."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": kind, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


HUGE = [(10**12, 128), (2**62, 2**62), (-1, 128), (10**30,)]


@pytest.mark.parametrize("shape", HUGE)
def test_arrays_that_say_to_be_huge(shape, tmp_path):
    (tmp_path / "i_x_clean.npy").write_bytes(header(shape, "|u1"))
    with pytest.raises(ValueError, match=r"i_x_clean\.npy: no whole array"):
        arrays.open_array(tmp_path, "i_x", "clean")
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        for patch_type in PATCH_TYPES:
            archive.writestr(f"i_x/{patch_type}.npy", header(shape) + bytes(64))
    with pytest.raises(ValueError, match=r"d\.npz: i_x/ref is not an array of numbers"):
        read_descriptors(tmp_path / "d.npz", ["i_x"])


def test_a_bomb_of_descriptors_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("hpkit.evaluation.descriptor_files.LARGEST", 10**6)
    np.savez_compressed(tmp_path / "d.npz", **{"i_x/ref": np.zeros(10**6)})
    with pytest.raises(ValueError, match=r"i_x/ref unpacks to 8,000,128 bytes, expected at most"):
        read_descriptors(tmp_path / "d.npz", ["i_x"])


@pytest.mark.parametrize("values", [np.ones((2, 3), complex), np.ones((2, 3), bool),
                                    np.full((2, 3), "1.5"), np.ones((2, 3), "M8[s]"),
                                    np.zeros((2, 3), [("a", "f4")])])
def test_descriptors_that_are_no_real_numbers(values, tmp_path):
    """They could be turned into some, which are not what was meant."""
    np.savez(tmp_path / "d.npz", **{f"i_x/{t}": values for t in PATCH_TYPES})
    with pytest.raises(ValueError, match=r"d\.npz: i_x/ref is not an array of numbers"):
        read_descriptors(tmp_path / "d.npz", ["i_x"])


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", ""])
def test_descriptors_that_are_not_finite_are_named(value, tmp_path, capsys):
    golden = Path(__file__).parents[1] / "golden" / "small"
    with np.load(golden / "descriptors.npz") as archive:
        for name in archive:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            lines = [",".join(map(str, row)) for row in archive[name][:, :3]]
            if name == "v_elm/t2":
                lines[11] = f"1,{value},1"
            (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    assert main(["evaluate", str(tmp_path), "--tasks", str(golden), "--split", "small"]) == 2
    said = capsys.readouterr().err
    missing = value in ("nan", "")  # as pandas reads an empty place
    assert ("v_elm/t2.csv: value 2 of row 12 is empty or NaN, expected a number" if missing
            else "the descriptor of v_elm/t2, row 11, is not finite") in said


def test_a_task_file_that_is_not_the_published_one_is_told(tmp_path, monkeypatch):
    READERS["own task files"].make(tmp_path)
    monkeypatch.setattr("hpkit.data.tasks.official_ids", lambda: {"verif_pos_split-published.csv": "0"})
    with pytest.warns(UserWarning, match=r"verif_pos_split-published\.csv: NOT the published"):
        READERS["own task files"].read(tmp_path)


@pytest.mark.parametrize(("kind", "sentence"), [("nan", "not finite"), ("inf", "not finite")])
def test_weights_that_are_not_finite_show_at_once(kind, sentence):
    network = torch.nn.Conv2d(1, 1, 1)
    network.weight.data.fill_(float(kind))
    with pytest.raises(ValueError, match=sentence):
        denoise(network, np.ones((1, 32, 32), np.uint8), device="cpu", precision="float32")


# --- disks, and what is written on them ----------------------------------------------------------

QUICK = {"device": "cpu", "precision": "float32", "threads": 1, "optimizer": "adam", "samples": 8,
         **tiny.QUICK}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Nine sequences of four points in the HPatches layout."""
    return tiny.write_data(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("name", ["config.json", "checkpoint.pt", "weights.safetensors",
                                  "history.csv", "run.json", "scores-*.json"])
def test_a_run_on_a_full_disk_goes_on_when_there_is_room(name, data, tmp_path, monkeypatch):
    """/dev/full is one: every write to it fails."""
    config = DenoiserConfig(data=data, **QUICK)
    whole = run(config, store=tmp_path / "whole")
    monkeypatch.setattr(files.uuid, "uuid4", lambda: SimpleNamespace(hex="x"))
    folder = tmp_path / "full" / whole.folder.name
    if name.startswith("scores"):  # the last of all: whatever was left before it is cleaned away
        shutil.copytree(whole.folder, folder)
        (folder / name.replace("*", whole.config.score_key())).unlink()
    folder.mkdir(parents=True, exist_ok=True)
    full = folder / f"{name.replace('*', whole.config.score_key())}.x.part"
    full.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"could not be written \(No space left .*the next call goes"):
        run(config, store=tmp_path / "full")
    assert not full.is_symlink()
    made = run(config, store=tmp_path / "full")
    assert made.scores == whole.scores and tiny.same_weights(made.model(), whole.model())
    assert not list(folder.glob("*.part"))


def test_weights_that_change_after_a_run_was_opened_are_not_loaded(data, tmp_path):
    made = run(DenoiserConfig(data=data, **QUICK), store=tmp_path)
    path = made.folder / "weights.safetensors"
    path.write_bytes(damaged(path.read_bytes(), "a byte changed", 5000, 1))
    with pytest.raises(files.Damaged, match=r"weights\.safetensors: missing or changed"):
        made.model()


def test_arrays_are_read_again_only_where_they_may_have_changed(tmp_path, monkeypatch):
    """An array that was written since its checksum was noted is read, once."""
    reader, reads = READERS["arrays of an embedded set"], []
    reader.make(tmp_path)
    folder = tmp_path / "set" / "arrays"
    os.utime(folder / "i_x_clean.npy")  # written again, with the same content
    crc = zlib.crc32
    monkeypatch.setattr(zlib, "crc32", lambda content: reads.append(len(content)) or crc(content))
    time.sleep(0.02)  # the tick of a disk's clock
    for _ in range(3):
        arrays.open_array(folder, "i_x", "clean")
    assert len(reads) == 1
    (folder / "i_x.sums").unlink()  # as beside the arrays of an older hpkit
    arrays.open_array(folder, "i_x", "clean")
    assert len(reads) == 1


PROGRAM = """
import sys
opened = []
sys.addaudithook(lambda event, args: event in ("socket.bind", "socket.connect", "socket.listen")
                 and opened.append((event, args)))
from pathlib import Path
import pandas, torch
import hpkit.book.run, hpkit.lessons.live, hpkit.lessons.show, hpkit.matching.photos
from hpkit.experiments.configs import DenoiserConfig
from hpkit.experiments.runs import ablate
from hpkit.lessons.progress import predict
predict("C1", "holds", 0.7)
table = ablate(DenoiserConfig(data={data!r}, **{quick!r}), [0], depth=[4, 6])
assert not opened, opened
print(table.test_mae.round(6).tolist())
"""


def confined() -> None:
    """In a child, before it runs: root too is held by permissions (Linux: CAP_DAC_OVERRIDE)."""
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)


def start(program: str, place: Path, **more: str) -> subprocess.CompletedProcess:
    """A Python of its own, whose home, cache, store and temporary folder are all in `place`."""
    for name in ("home", "cache", "runs", "temporary", "work"):
        (place / name).mkdir(exist_ok=True)
    environment = {key: value for key, value in os.environ.items()
                   if not key.startswith(("HPKIT", "XDG", "JUPYTER", "MPL", "IPYTHON"))}
    environment |= {"HOME": str(place / "home"), "TMPDIR": str(place / "temporary"),
                    "HPKIT_CACHE": str(place / "cache"), "HPKIT_RUNS": str(place / "runs"), **more}
    return subprocess.run([sys.executable, "-B", "-c", program], cwd=place / "work", text=True,
                          env=environment, capture_output=True, preexec_fn=confined)


def everything(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")
            if path.is_file()}


def test_nothing_is_written_elsewhere_and_no_port_is_opened(data, tmp_path):
    """With the home and the working folder read-only; and the package, and the data, unchanged."""
    before = everything(PACKAGE), everything(Path(data))
    (tmp_path / "home").mkdir(mode=0o555)
    (tmp_path / "work").mkdir(mode=0o555)
    done = start(PROGRAM.format(data=data, quick=QUICK), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (everything(PACKAGE), everything(Path(data))) == before
    written = {name.split("/")[0] for name in everything(tmp_path)}
    assert written <= {"cache", "runs", "temporary"}
    assert not any("hpkit" in name for name in everything(tmp_path / "temporary"))


LOAD = """
import sys
from hpkit.data.sets import load
from hpkit.experiments.configs import DenoiserConfig
from hpkit.experiments.runs import run
try:
    {code}
except OSError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize(("read_only", "code", "sentence"), [
    ("cache", "print(len(load({data!r}).test))", r"cache/converted/\w+: could not be written \(P"),
    ("runs", "run(DenoiserConfig(data={data!r}, **{quick!r}))", r"runs/\w+: could not be written"),
])
def test_a_read_only_cache_is_told_in_one_sentence_and_enough_where_all_is_there(
        read_only, code, sentence, data, tmp_path):
    program = LOAD.format(code=code.format(data=data, quick=QUICK))
    (tmp_path / read_only).mkdir(mode=0o555)
    done = start(program, tmp_path)
    assert done.returncode == 1 and re.search(sentence, done.stderr), done.stderr
    assert len(done.stderr.splitlines()) == 1
    (tmp_path / read_only).chmod(0o755)
    assert start(program, tmp_path).returncode == 0
    if read_only == "cache":  # now it is there
        for path in [tmp_path / "cache", *(tmp_path / "cache").rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        assert start(program, tmp_path).stdout == "8\n"


def test_no_server_is_started_with_its_doors_open():
    """JupyterLab is started with its own token, on loopback; the kit itself listens nowhere."""
    package = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    started = package + (ROOT / "Makefile").read_text()
    assert not re.search(r"--ip\b|allow_origin|token\s*=|password\s*=|0\.0\.0\.0", started)
    assert not re.search(r"\bimport socket|http\.server|\.listen\(|\.bind\(|HTTPServer", package)


# --- processes that die, two at once -------------------------------------------------------------

@pytest.mark.timeout(900)
def test_killed_at_random_moments_all_ends_as_if_nothing_had_happened(tmp_path):
    """kill -9 while data are built, a network trains, a sweep and the book run (5; faults: 50)."""
    assert sum(kills.kill(tmp_path, kills=5).values()) == 5


@pytest.mark.timeout(300)
def test_two_books_in_one_folder_at_once(tmp_path):
    notebooks = kills.toy_book(tmp_path)
    both = [kills.start_book(notebooks, tmp_path / "out", tmp_path) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    alone = kills.start_book(notebooks, tmp_path / "alone", tmp_path)
    assert alone.wait() == 0
    assert kills.printed(tmp_path / "out") == kills.printed(tmp_path / "alone")


def test_two_kernels_predict_at_once(tmp_path):
    code = ("from hpkit.lessons.progress import predict\n"
            "for i in range(20): predict(f'{who}{i}', 'holds', 0.7)".replace("{who}", "%s"))
    environment = os.environ | {"HPKIT_CACHE": str(tmp_path)}
    both = [subprocess.Popen([sys.executable, "-c", code % who], env=environment,
                             stdout=subprocess.DEVNULL) for who in "ab"]
    assert [process.wait() for process in both] == [0, 0]
    (kept,) = tmp_path.glob("predictions-*.json")
    assert len(files.read_json(kept)) == 40
