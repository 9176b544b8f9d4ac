"""`make faults`: every fault that the kit says to survive, at full counts, and a table of them.

`python tests/faults/kills.py` kills the building of data, a training, a sweep and a toy book at 50
random moments, damages each kind of file 1,000 times, runs the tests of all other faults, writes
tests/faults/table.csv, and puts the table into notebooks/pages/testing.md. About ten minutes on two
cores.
"""

import argparse
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import warnings
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import nbformat
import pandas as pd
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))  # as a script

import readme

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TABLE = HERE / "table.csv"
COLUMNS = ["what", "how often", "what happened"]
FORK = multiprocessing.get_context("forkserver")  # children of one that only imported torch
FORK.set_forkserver_preload(["hpkit.experiments.runs", "hpkit.data.photos"])
CPU = {"device": "cpu", "precision": "float32", "threads": 1}
PHOTOS = ["moon", "camera"]  # of two sides


# --- what is killed: each works in a folder, and goes on there ------------------------------------

def build(place: Path) -> None:
    """The embedded set, of two photos, and a folder of PNGs that is converted."""
    from hpkit.data import photos
    from hpkit.data.sets import load

    os.environ |= {"HPKIT_CACHE": str(place / "cache"), "HPKIT_DATA": str(place / "cache")}
    table = photos.photo_table()
    photos.photo_table = lambda: table[table.name.isin(PHOTOS)]
    photos.photos_folder()
    load(place.parent / "data")


def train(place: Path) -> None:
    """A descriptor, and the denoiser of its patches."""
    from hpkit.experiments.configs import DescriptorConfig
    from hpkit.experiments.runs import run

    run(DescriptorConfig(data=str(place.parent / "data"), samples=8, optimizer="nadam", epochs=6,
                         denoiser_epochs=6, denoiser_samples=8, pairs=20, queries=2, distractors=4,
                         **_quick(), **CPU), store=place / "runs")


def sweep(place: Path) -> None:
    """Six denoisers in a pool of two processes, forked before torch has run anything."""
    from hpkit.experiments.configs import DenoiserConfig
    from hpkit.experiments.runs import ablate

    base = DenoiserConfig(data=str(place.parent / "data"), samples=24, epochs=4, **_quick(), **CPU)
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        table = ablate(base, [0, 1], executor=pool, store=place / "runs", momentum=[0.0],
                       optimizer=["adam", "sgd", "adamax"])
    changing = ["seconds", "finished"]
    (place / "table.csv").write_text(table.drop(columns=changing).to_csv())


def _quick() -> dict:
    from tiny import QUICK

    return {name: value for name, value in QUICK.items() if name != "epochs"}


WORKS = {"building the data": build, "training": train, "sweeping": sweep, "the book": None}
SHARES = {"building the data": 0.2, "training": 0.3, "sweeping": 0.2, "the book": 0.3}


# --- the toy book --------------------------------------------------------------------------------

CHAPTERS = {
    "01_train": [
        "from hpkit.experiments.configs import DenoiserConfig\n"
        "from hpkit.experiments.runs import run",
        "base = DenoiserConfig(data={data!r}, samples=24, epochs=4, **{options!r})",
        "made = run(base)\nprint(made.scores, list(made.history.loss))"],
    "02_sweep": [
        "from hpkit.experiments.configs import DenoiserConfig\n"
        "from hpkit.experiments.runs import ablate",
        "base = DenoiserConfig(data={data!r}, samples=24, epochs=3, **{options!r})",
        "table = ablate(base, [0, 1], optimizer=['adam', 'sgd'], momentum=[0.0])\n"
        "print(table[['seed', 'optimizer', 'loss', 'val_loss', 'test_mae']].to_csv())"],
}


def toy_book(folder: Path) -> list[Path]:
    """Two chapters, on the data set that is beside them."""
    from tiny import write_data

    if not (folder / "data" / "splits.json").exists():
        write_data(folder / "data")
    paths = [folder / f"{name}.ipynb" for name in CHAPTERS]
    for path in paths:
        values = {"data": str(folder / "data"), "options": _quick() | CPU}
        cells = [new_code_cell(code.format(**values)) for code in CHAPTERS[path.stem]]
        notebook = new_notebook(cells=[new_markdown_cell(f"# {path.stem}?"), *cells])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3",
                                        "language": "python"}
        if not path.exists():
            nbformat.write(notebook, path)
    return paths


def start_book(notebooks: list[Path], out: Path, place: Path) -> subprocess.Popen:
    """`hpkit book`, with the cache and the runs in a folder of its own."""
    place.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "hpkit", "book", *map(str, notebooks), "--out", str(out),
               "--no-site"]
    own = {"HPKIT_CACHE": str(place / "cache"), "HPKIT_RUNS": str(place / "runs")}
    with (place / "said.txt").open("a") as said:
        return subprocess.Popen(command, env=os.environ | own, stdout=said, stderr=said,
                                start_new_session=True)


def printed(out: Path) -> list[str]:
    """What the cells of the executed chapters printed, but for who waited for whom."""
    return ["".join(output.text for cell in nbformat.read(path, 4).cells if "outputs" in cell
                    for output in cell.outputs if output.get("name") == "stdout")
            for path in sorted((out / "notebooks").glob("*.ipynb"))]


# --- killing -------------------------------------------------------------------------------------

def outcome(place: Path) -> dict[str, object]:
    """All that must be as if nothing had happened, by its path."""
    found = {}
    for path in sorted(place.rglob("*")):
        name = str(path.relative_to(place))
        if re.search(r"\.partial-|\.part$|\.lock$|/lock$", name) or not path.is_file():
            continue
        if path.suffix in (".npy", ".safetensors", ".png") or path.name == "table.csv":
            found[name] = path.read_bytes()
        if path.name == "history.csv":
            found[name] = pd.read_csv(path).drop(columns="seconds").to_csv()
        if path.name.startswith("scores-"):
            found[name] = path.read_text()
    return found | {"printed": printed(place / "out")}


def _in_child(work: Callable[[Path], None], place: Path) -> None:
    os.setsid()  # so that all of it can be killed at once
    with (place / "said.txt").open("a") as said, redirect_stdout(said), redirect_stderr(said):
        warnings.filterwarnings("error", "(?s).*set aside")  # nothing is ever found damaged
        work(place)


def start(work: Callable[[Path], None] | None, place: Path) -> subprocess.Popen | BaseProcess:
    """A process, in a session of its own, that does the work, or the book."""
    place.mkdir(exist_ok=True)
    if work is None:
        return start_book(toy_book(place.parent), place / "out", place)
    child = FORK.Process(target=_in_child, args=(work, place))
    child.start()
    return child


def ended(child: subprocess.Popen | BaseProcess, seconds: float | None = None) -> int | None:
    """Its status, None where it still runs after so many seconds."""
    if isinstance(child, BaseProcess):
        child.join(seconds)
        return child.exitcode
    with suppress(subprocess.TimeoutExpired):
        return child.wait(seconds)


def strike(pid: int, everyone: bool) -> None:
    """All its processes, as when the power fails, or it alone, and then its children go on."""
    with suppress(ProcessLookupError):
        if everyone:
            with suppress(ProcessLookupError):  # it may not have a group of its own yet
                os.killpg(pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)


def kill_one(work: Callable[[Path], None] | None, folder: Path, times: int,
             chance: random.Random) -> None:
    """Kill it so often, each time start it again, let it end. Raises for another outcome."""
    toy_book(folder)
    began = time.perf_counter()
    assert ended(start(work, folder / "whole")) == 0
    seconds, killed, number = time.perf_counter() - began, [], 0
    while len(killed) < times or number == 0:
        number += 1
        place = folder / f"killed-{number}"
        while len(killed) < times:
            child = start(work, place)
            if ended(child, chance.uniform(0, seconds)) is not None:
                seconds *= 0.8  # the first one was slower: it had more to import
                break
            strike(child.pid, everyone=chance.random() < 0.5)
            if ended(child) == -signal.SIGKILL:
                killed.append(child.pid)
        assert ended(start(work, place)) == 0, (place / "said.txt").read_text()
        assert outcome(place) == outcome(folder / "whole"), f"{place}: another outcome"
        assert not list(place.rglob("*.damaged-*"))
    for group in killed:  # what outlived its parent
        strike(group, everyone=True)


def kill(folder: Path, kills: int, seed: int | None = None) -> dict[str, int]:
    """So many kills, dealt over the works: how often each was killed."""
    chance, dealt = random.Random(seed), {name: int(kills * SHARES[name]) for name in WORKS}
    for name in [*WORKS][:kills - sum(dealt.values())]:
        dealt[name] += 1
    for number, name in enumerate(name for name in WORKS if dealt[name]):
        (folder / str(number)).mkdir()
        kill_one(WORKS[name], folder / str(number), dealt[name], chance)
        print(f"{name}: killed {dealt[name]} times", flush=True)
    return dealt


# --- the table -----------------------------------------------------------------------------------

SAME = "the next start ended with the same bytes, scores and outputs as an undisturbed one"
OTHERS = {  # what the tests of other faults are called in the table: names of tests, what happened
    "downloads over a server that cuts, flips, lies, is busy or gone (and killed 16 times)": (
        ["tests/data/test_download.py", "-k", "not harm and not zip and not full_disk and not tasks"],
        "the call said one sentence or succeeded; the next one ended with the same arrays"),
    "archives made to harm: paths that lead out, links, bombs, giants, no zips": (
        ["tests/data/test_download.py", "-k", "harm or damaged_zip"], "refused, nothing left behind"),
    "pickles, YAML bombs, names that lead elsewhere, giant arrays, numbers that are none": (
        ["tests/slow/test_damage.py", "-k", "unpickled or harm or bomb or elsewhere or seem or huge or "
         "real_numbers or finite or published"], "refused in a sentence that names the file"),
    "photos that are none, broken, or larger than they look": (
        ["tests/matching/test_matching.py", "-k", "other_files or too_many_pixels"],
        "refused in one sentence, before a pixel is decoded"),
    "two processes at once: a run, a sweep, a build, a download, the book, predictions": (
        ["tests/slow/test_runs.py", "tests/data/test_photos.py", "tests/data/test_download.py",
         "tests/slow/test_damage.py", "-k", "two_processes or two_builds or two_at_once or two_books or "
         "two_kernels or process_pool or dask"], "both ended with the same results"),
    "a full disk, while a download or each file of a run is written": (
        ["tests/data/test_download.py", "tests/slow/test_damage.py", "-k", "full_disk or too_small_a_disk"],
        "one sentence; with room again, the next call went on to the same results"),
    "read-only: cache, run store, home, working folder, shared data": (
        ["tests/data/test_download.py", "tests/slow/test_damage.py", "tests/data/test_scenes.py", "-k",
         "read_only or elsewhere_and_no_port or only_read"],
        "enough where all is there, else one sentence; nothing written elsewhere, no port opened"),
}


def run_tests(arguments: list[str], **environment: str) -> int:
    """How many tests passed; SystemExit where one did not."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        done = subprocess.run([sys.executable, "-m", "pytest", *arguments, f"--junitxml={report}"],
                              cwd=ROOT, env=os.environ | environment)
        if done.returncode:
            sys.exit(f"failed: {' '.join(arguments)}")
        suite = ElementTree.parse(report).getroot().find("testsuite")
        return int(suite.get("tests")) - int(suite.get("skipped"))


def damage(examples: int) -> list[tuple]:
    """A row per kind of file."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        run_tests(["tests/slow/test_damage.py", "-k", "damage_is_refused"],
                  HPKIT_EXAMPLES=str(examples), HPKIT_FAULTS_REPORT=str(report))
        for line in report.read_text().splitlines():
            seen = Counter(json.loads(line))
            what = seen.pop("what")
            told = [f"{seen.pop('refused')} refused by name", *(
                f"{count} {'changed nothing' if name == 'harmless' else name}"
                for name, count in sorted(seen.items(), reverse=True))]
            yield f"damaged: {what}", f"{examples} files", "; ".join(told)


def markdown(table: pd.DataFrame) -> str:
    """The table as it stands on the page on testing."""
    return readme.markdown(COLUMNS, table.to_numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--examples", type=int, default=1000, help="of damage, per kind of file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        killed = kill(Path(folder), options.kills)
    rows = [(f"kill -9 while: {name}", f"{count} times", SAME) for name, count in killed.items()]
    rows += list(damage(options.examples))
    rows += [(what, f"{run_tests(tests)} tests", happened)
             for what, (tests, happened) in OTHERS.items()]
    table = pd.DataFrame(rows, columns=COLUMNS)
    table.to_csv(TABLE, index=False)
    readme.put("make faults", markdown(table))
    print(markdown(table))


if __name__ == "__main__":
    main()
