"""The exercises of a notebook, and the solutions that are folded away below them."""

import re

from nbformat import NotebookNode

SOLUTION = re.compile(r"<details>.*?```python\n(.*?)```.*?</details>", re.S)


def is_exercise(cell: NotebookNode) -> bool:
    """Whether a reader is asked to answer in this cell."""
    return "exercise" in cell.metadata.get("tags", [])


def solutions(notebook: NotebookNode) -> dict[str, str | None]:
    """Exercise -> code of the folded solution below its answer cell, or None."""
    found, name = {}, None
    for cell in notebook.cells:
        if cell.cell_type == "code" and is_exercise(cell):
            name = cell.metadata.get("exercise", "without a name")
            found[name] = None
        elif name and cell.cell_type == "markdown":
            match = SOLUTION.search(cell.source)
            if match:
                found[name] = match[1]
                name = None
    return found
