"""What tests make is kept apart; a notebook's exercises' solutions follow it in nbval's kernel."""

import os
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
import speed
from browser import MISSING
from nbformat.v4 import new_code_cell
from nbval.plugin import IPyNbCell
from trained import NEAR, NOTEBOOK, mean_error

from hpkit.data.photos import photos_folder
from hpkit.lessons.solutions import solutions

# The photos are the user's; converted folders, runs and predictions go elsewhere.
os.environ["HPKIT_DATA"] = str(photos_folder().parent)
_own = tempfile.TemporaryDirectory(prefix="hpkit-tests-")
os.environ["HPKIT_CACHE"] = _own.name
# A site that a test builds downloads nothing: no one listens at this port. One test asks the
# registry that the user has.
os.environ.setdefault("HPKIT_TESTS_NPM", os.environ.get("npm_config_registry", ""))  # noqa: SIM112
os.environ["npm_config_registry"] = "http://127.0.0.1:9"  # noqa: SIM112, npm's own name

SLOW = Path(__file__).parent / "slow"


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
    """The fixtures take seconds to import, and xdist's controller runs no test."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        config.pluginmanager.import_plugin("common_fixtures")
    config.addinivalue_line(
        "markers",
        "repeats: takes long, and much of it is tried elsewhere too "
        "(left out on a slow machine, see tests/helpers/speed.py)",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Measured once, before xdist's workers start: all of them choose alike.

    `make check` has none of the tests that this is about, and no seconds to spare.
    """
    node.workerinput["seconds"] = 0.0 if is_quick(node.config) else speed.seconds()


def is_quick(config: pytest.Config) -> bool:
    return config.getoption("markexpr") == "not slow"


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


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`make check` needs no browser and no cluster, which take seconds to import."""
    return True if collection_path == SLOW and is_quick(config) else None


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
    for why in (speed.LEFT_OUT, speed.NO_BFLOAT16, speed.NO_NEWER, speed.OTHER_TORCH):
        if names := sorted(skipped.pop(why, [])):
            listed = f"{len(names)} tests left out: {why} {', '.join(names)}"
            terminalreporter.write_line(listed)


def reason(report: pytest.TestReport) -> str:
    """Why it was skipped, as the mark or the call says."""
    said = report.longrepr  # for a skipped test: file, line and sentence
    said = said[2] if isinstance(said, tuple) else str(said)
    return said.removeprefix("Skipped: ")
