"""What tests make is kept apart; a notebook's exercises' solutions follow it in nbval's kernel."""

import os
import tempfile
from collections import defaultdict

import pytest
from anatomy import solutions
from browser import MISSING
from nbformat.v4 import new_code_cell
from nbval.plugin import IPyNbCell

from hpkit.photos import photos_folder

# The photos are the user's; converted folders, runs and predictions go elsewhere.
os.environ["HPKIT_DATA"] = str(photos_folder().parent)
_own = tempfile.TemporaryDirectory(prefix="hpkit-tests-")
os.environ["HPKIT_CACHE"] = _own.name


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
