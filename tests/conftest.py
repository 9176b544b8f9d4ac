"""What tests make is kept apart; a notebook's exercises' solutions follow it in nbval's kernel."""

import os
import tempfile
import threading
from collections import defaultdict
from itertools import count
from pathlib import Path

import matplotlib
import pytest
import speed
from browser import MISSING
from nbformat.v4 import new_code_cell
from nbval.plugin import IPyNbCell
from tiny import NO_BFLOAT16, NO_NEWER, QUICK, write_data
from trained import NEAR, NOTEBOOK, mean_error

from hpkit.data.photos import photos_folder
from hpkit.experiments import runs
from hpkit.experiments.configs import DenoiserConfig, DescriptorConfig
from hpkit.lessons import live, widgets
from hpkit.lessons.solutions import solutions

# The photos are the user's; converted folders, runs and predictions go elsewhere.
os.environ["HPKIT_DATA"] = str(photos_folder().parent)
_own = tempfile.TemporaryDirectory(prefix="hpkit-tests-")
os.environ["HPKIT_CACHE"] = _own.name
# A site that a test builds downloads nothing: no one listens at this port. One test asks the
# registry that the user has.
os.environ.setdefault("HPKIT_TESTS_NPM", os.environ.get("npm_config_registry", ""))  # noqa: SIM112
os.environ["npm_config_registry"] = "http://127.0.0.1:9"  # noqa: SIM112, npm's own name

@pytest.fixture(autouse=True)
def style():
    """What a test sets of matplotlib's style ends with it."""
    with matplotlib.rc_context():
        yield


SLOW = Path(__file__).parent / "slow"
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


class TrainedNumber(pytest.Item):
    """What a chapter's networks reached here, beside what the committed outputs say."""

    def __init__(self, *, printing: IPyNbCell, **options) -> None:
        super().__init__(**options)
        self.printing = printing

    def runtest(self) -> None:
        before, after = (mean_error(printed(outputs)) for outputs in
                         (self.printing.cell.outputs, self.printing.test_outputs or []))
        assert after is not None, "the cell that prints the number has not run"
        assert abs(after - before) < NEAR, f"{after} here, {before} committed"


def printed(outputs: list) -> str:
    return "".join(output.get("text", "") for output in outputs)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "repeats: takes long, and much of it is tried elsewhere too "
        "(left out on a slow machine, see tests/helpers/speed.py)",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Measured once, before xdist's workers start: all of them choose alike."""
    node.workerinput["seconds"] = speed.seconds()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """After pytest's own reasons to skip a test, before its fixtures are set up."""
    if item.get_closest_marker("repeats"):
        told = getattr(item.config, "workerinput", {})
        if speed.is_slow(told["seconds"] if told else speed.seconds()):
            pytest.skip(speed.LEFT_OUT)


def solution_items(file: pytest.File) -> list[pytest.Item]:
    """A cell for each exercise of a notebook, with its folded solution."""
    return [
        Solution.from_parent(
            file,
            name=f"Solution {name}",
            cell_num=number,
            cell=new_code_cell(code or "raise NotImplementedError('no solution below it')"),
            options=defaultdict(bool),
        )
        for number, (name, code) in enumerate(solutions(file.nb).items())
    ]


def trained_items(file: pytest.File, cells: list[IPyNbCell]) -> list[pytest.Item]:
    """The comparison of the trained number, in the notebook that has one."""
    return [
        TrainedNumber.from_parent(file, name="Trained number", printing=cell)
        for cell in cells
        if file.path.stem == NOTEBOOK and mean_error(printed(cell.cell.get("outputs", [])))
    ]


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses among them
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == SLOW:
            item.add_marker("slow")
    files = list(dict.fromkeys(i.parent for i in items if isinstance(i, IPyNbCell)))
    for file in files:
        cells = [item for item in items if item.parent is file]
        last = items.index(cells[-1])
        items[last + 1 : last + 1] = [*trained_items(file, cells), *solution_items(file)]


def pytest_terminal_summary(terminalreporter) -> None:
    skipped = defaultdict(list)
    for report in terminalreporter.getreports("skipped"):
        skipped[reason(report)].append(report.nodeid.split("::", 1)[-1])
    if names := skipped.pop(MISSING, []):
        terminalreporter.write_line(f"{len(names)} tests in a browser skipped: {MISSING}")
    for why in (speed.LEFT_OUT, NO_BFLOAT16, NO_NEWER):
        if names := sorted(skipped.pop(why, [])):
            listed = f"{len(names)} tests left out: {why} {', '.join(names)}"
            terminalreporter.write_line(listed)


def reason(report: pytest.TestReport) -> str:
    """Why it was skipped, as the mark or the call says."""
    said = report.longrepr  # for a skipped test: file, line and sentence
    said = said[2] if isinstance(said, tuple) else str(said)
    return said.removeprefix("Skipped: ")
