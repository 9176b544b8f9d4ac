"""What is the same in every notebook of the book, as far as code can tell."""

import ast
import base64
import re
import struct
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from hpkit.book.colab import TAG
from hpkit.book.parameters import defaults
from hpkit.book.stamps import plain
from hpkit.lessons.solutions import is_exercise, solutions

SECTIONS = ("You will", "By hand", "What we see", "Exercises", "Tweak it", "Next")  # in this order
# Outside the exercises.
CELLS = 35
LONGER = {"10_final_model": 40, "11_modifications": 47, "13_clinic": 52}
LINES, BYTES, PIXELS, EXERCISES = 15, 900_000, 1000, 3
# Each of these makes a headless run or its comparison fail now and then.
BANNED = r"clear_output|\bOutput\(|\binteract(ive|ive_output|_manual)?\("


def complaints(path: Path) -> list[str]:
    """Everything about this notebook that is not as it should be, a sentence each."""
    notebook = nbformat.read(path, 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = [*about_text(notebook), *about_links(path, notebook)]
    found += [*about_parameters(path, code), *about_names(code), *about_exercises(notebook)]
    for number, cell in enumerate(code, 1):
        found += [f"code cell {number} {c}" for c in [*about_code(cell), *about_outputs(cell)]]
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append("its cells were not all run once, in order")
    if path.stat().st_size > BYTES:
        found.append(f"has {path.stat().st_size} bytes, at most {BYTES} are allowed")
    outside = [c for c in notebook.cells if not is_exercise(c) and "<details>" not in c.source
               and TAG not in c.metadata.get("tags", [])]
    if len(outside) > (most := LONGER.get(path.stem, CELLS)):
        found.append(f"has {len(outside)} cells outside the exercises, at most {most} are allowed")
    return found


def about_text(notebook: NotebookNode) -> list[str]:
    title = notebook.cells[0].source.split("\n")[0]
    found = [] if re.fullmatch(r"# .*\?", title) else [f"{title!r} is no '# ' title with a '?'"]
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    places = [text.find(section) for section in SECTIONS]
    found += [f"has no {s!r}" for s, place in zip(SECTIONS, places, strict=True) if place < 0]
    return found or ([] if places == sorted(places) else [f"is not in the order {SECTIONS}"])


def about_links(path: Path, notebook: NotebookNode) -> list[str]:
    links = re.findall(r"\]\(([^):#]+)[#)]", "\n".join(c.source for c in notebook.cells))
    return [f"links to {k}, which is not there" for k in links if not (path.parent / k).exists()]


def about_parameters(path: Path, code: list[NotebookNode]) -> list[str]:
    cells = [c for c in code if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        return [f"has {len(cells)} cells tagged 'parameters'"]
    found, names = [], []
    for node in ast.parse(cells[0].source).body:
        line = cells[0].source.splitlines()[node.lineno - 1]
        names.append(line.split("=")[0].strip())
        if not is_flat(node):
            found.append(f"parameter {names[-1]} is no flat scalar or list")
        if not re.search(r"# \S", line) or node.lineno != node.end_lineno:
            found.append(f"parameter {names[-1]} is not on one line with its unit in a comment")
    missed = sorted(set(names) - set(defaults(path)))
    return found or [f"parameter {n} is hidden from papermill (a second '='?)" for n in missed]


def about_names(code: list[NotebookNode]) -> list[str]:
    """A cell that gives an imported name another meaning runs only once."""
    imported, found = set(), []
    for number, cell in enumerate(code, 1):
        nodes = list(ast.walk(ast.parse(plain(cell.source))))
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                imported |= {alias.asname or alias.name for alias in node.names}
        inside = {name for node in nodes if isinstance(node, ast.comprehension)
                  for name in ast.walk(node.target)}  # these names end with their loop
        stored = {n.id for n in nodes if isinstance(n, ast.Name)
                  and isinstance(n.ctx, ast.Store) and n not in inside}
        found += [f"code cell {number} assigns {name}, which is imported"
                  for name in sorted(stored & imported)]
    return found


def is_flat(node: ast.stmt) -> bool:
    try:
        value = ast.literal_eval(node.value)
    except (AttributeError, ValueError):
        return False
    values = value if isinstance(value, list) else [value]
    return all(v is None or isinstance(v, bool | int | float | str) for v in values)


def without_imports(code: str) -> list[str]:
    """The lines of a cell that are read one by one."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return code.splitlines()
    imported = {
        number
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for number in range(node.lineno, node.end_lineno + 1)
    }
    lines = enumerate(code.splitlines(), 1)
    return [line for number, line in lines if number not in imported]


def about_code(cell: NotebookNode) -> list[str]:
    found, lines = [], without_imports(cell.source)
    if len(lines) > LINES:
        found.append(f"has {len(lines)} lines, at most {LINES} are allowed")
    if match := re.search(BANNED, cell.source):
        found.append(f"uses {match[0]}, which hangs or fails headless runs")
    if lines and lines[-1].rstrip().endswith(";"):
        found.append("ends with ';', which nbval cannot read")
    return found


def about_outputs(cell: NotebookNode) -> list[str]:
    found, pictures = [], 0
    for output in cell.outputs:
        if output.output_type == "error" or output.get("name") == "stderr":
            found.append(f"has {output.output_type} output: {output.get('text', '')[:80]!r}")
        data = output.get("data", {})
        if "image/svg+xml" in data or "image/jpeg" in data:
            found.append("has a picture that is not PNG")
        if "image/png" in data:
            pictures += 1
            width = struct.unpack(">I", base64.b64decode(data["image/png"])[16:20])[0]
            if width > PIXELS:
                found.append(f"has a picture {width} pixels wide, at most {PIXELS} are allowed")
    if pictures and not cell.metadata.get("mystnb", {}).get("image", {}).get("alt"):
        found.append("has a picture without alternative text (metadata mystnb.image.alt)")
    return found


def about_exercises(notebook: NotebookNode) -> list[str]:
    answers = [c for c in notebook.cells if c.cell_type == "code" and is_exercise(c)]
    found = [] if len(answers) >= EXERCISES else [f"has {len(answers)} exercises, not {EXERCISES}"]
    names = [cell.metadata.get("exercise") for cell in answers]
    if None in names or len(set(names)) < len(names):
        found.append(f"exercises need metadata 'exercise', each its own: {names}")
    for name, solution in solutions(notebook).items():
        if solution is None:
            found.append(f"exercise {name} has no fenced solution in <details> below it")
    return found
