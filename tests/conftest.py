"""What tests make is kept apart; a notebook's exercises' solutions follow it in nbval's kernel."""

import os
import tempfile
import threading
from collections import defaultdict
from itertools import count

import matplotlib
import pytest
from anatomy import solutions
from browser import MISSING
from nbformat.v4 import new_code_cell
from nbval.plugin import IPyNbCell
from tiny import QUICK, write_data

from hpkit import live, runs, widgets
from hpkit.configs import DenoiserConfig, DescriptorConfig
from hpkit.photos import photos_folder

# The photos are the user's; converted folders, runs and predictions go elsewhere.
os.environ["HPKIT_DATA"] = str(photos_folder().parent)
_own = tempfile.TemporaryDirectory(prefix="hpkit-tests-")
os.environ["HPKIT_CACHE"] = _own.name

@pytest.fixture(autouse=True)
def style():
    """What a test sets of matplotlib's style ends with it."""
    with matplotlib.rc_context():
        yield


MACHINE = {"device": "cpu", "precision": "float32", "threads": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nine sequences of four points in the HPatches layout."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def denoiser(folder):
    return DenoiserConfig(data=folder, samples=8, optimizer="adam", **QUICK, **MACHINE)


@pytest.fixture
def descriptor(folder):
    return DescriptorConfig(data=folder, samples=8, optimizer="nadam", denoiser_epochs=1,
                            denoiser_samples=8, pairs=20, queries=2, distractors=4, **QUICK,
                            **MACHINE)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Of panels: a test's runs are its own, no training outlives it; pictures are numbers: quicker.
    """
    numbers = count()
    monkeypatch.setattr(widgets, "to_png", lambda figure: b"\x89PNG%d" % next(numbers))
    monkeypatch.setenv("HPKIT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(live, "REDRAW", 0)
    yield tmp_path / "runs"
    live.end_training()
    assert live.THREAD not in [thread.name for thread in threading.enumerate()]


@pytest.fixture
def no_training(monkeypatch):
    """From when it is called on, a training is an error."""
    def refuse(*args, **options):
        raise AssertionError("trained again")

    return lambda: monkeypatch.setattr(runs, "fit", refuse)


class Solution(IPyNbCell):
    """The folded solution of an exercise, pasted into its answer cell: its check must say ✓."""

    def runtest(self) -> None:
        super().runtest()
        printed = "".join(output.get("text", "") for output in self.test_outputs)
        if "✓" not in printed or "✗" in printed:
            self.raise_cell_error(f"the solution's check says: {printed or 'nothing'}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    files = list(dict.fromkeys(i.parent for i in items if isinstance(i, IPyNbCell)))
    for file in files:
        last = max(n for n, item in enumerate(items) if item.parent is file)
        added = [
            Solution.from_parent(
                file,
                name=f"Solution {name}",
                cell_num=number,
                cell=new_code_cell(code or "raise NotImplementedError('no solution below it')"),
                options=defaultdict(bool),
            )
            for number, (name, code) in enumerate(solutions(file.nb).items())
        ]
        items[last + 1 : last + 1] = added


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [r for r in terminalreporter.getreports("skipped") if MISSING in str(r.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests in a browser skipped: {MISSING}")
