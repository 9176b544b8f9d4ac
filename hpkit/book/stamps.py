"""Stamps: what a notebook's outputs depend on, and whether they are still fresh.

A stamp covers the cells, the parameters, the recorded files that the cells read, and
the code of the package that they use. The code is followed definition by definition,
through everything that it uses in turn; comments and docstrings do not count. So a
notebook does not grow stale by a change in a panel that it does not show. Of a registry
(a dict in capitals, keyed by text) only the entries count that were there when the
notebook was executed, unless its cells go through all of them: a new loss changes no
old result.
"""

import ast
import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import nbformat

PACKAGE = Path(__file__).parents[1]
RECORDED = re.compile(r"\brecorded\(\s*[\"'](\w+)[\"']")
Entries = dict[str, list[str]]  # registry, "module.NAME", to the keys that count
DATA = (".csv", ".gz", ".json", ".safetensors")


@dataclass
class Module:
    """The definitions of a module by name, and where its other names come from."""

    name: str
    package: bool = False
    nodes: dict[str, ast.stmt] = field(default_factory=dict)
    imports: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    effects: list[ast.stmt] = field(default_factory=list)  # what runs on import
    data: list[Path] = field(default_factory=list)  # files beside it that it names


def stamp(
    notebook: nbformat.NotebookNode,
    parameters: dict[str, object] | None = None,
    entries: Entries | None = None,
    package: Path = PACKAGE,
) -> dict[str, object]:
    """{"stamp": SHA-256 of all that decides the outputs, "entries": of registries}.

    entries: those of an earlier stamp, to compare with it; None: all that there are.
    """
    cells = [[c.cell_type, c.source, c.metadata.get("tags")] for c in notebook.cells]
    content = [cells, sorted((parameters or {}).items())]
    code = "\n".join(plain(c.source) for c in notebook.cells if c.cell_type == "code")
    used = Used(package, entries)
    used.by_code(code, chapter_of(notebook))
    results = package.parent / "notebooks" / "results"
    tables = [results / f"{name}.csv" for name in sorted(set(RECORDED.findall(code)))]
    files = [*used.files, *(path for path in tables if path.is_file())]
    sums = [[path.name, _file_sum(path)] for path in files]
    text = json.dumps([content, used.definitions, sums], sort_keys=True, default=repr)
    whole = hashlib.sha256(text.encode()).hexdigest()
    return {"stamp": whole, "entries": dict(sorted(used.entries.items()))}


def is_fresh(notebook: nbformat.NotebookNode, package: Path = PACKAGE) -> bool:
    """Whether an executed notebook's outputs fit its cells and this package."""
    made = notebook.metadata.get("hpkit", {})
    if "stamp" not in made:
        return False
    now = stamp(notebook, made.get("parameters"), made.get("entries"), package)
    return now["stamp"] == made["stamp"]


def chapter_of(notebook: nbformat.NotebookNode) -> set[str]:
    """The exercises that a notebook asks: their checks are found by name."""
    return {c.metadata["exercise"] for c in notebook.cells if "exercise" in c.metadata}


def plain(source: str) -> str:
    """A cell's code without the lines that only IPython understands."""
    return "\n".join(
        line for line in source.splitlines() if not re.match(r"\s*[%!]", line)
    )


class Used:
    """Everything of a package that some code uses."""

    def __init__(self, package: Path, entries: Entries | None) -> None:
        self.package, self.known, self.entries = package, entries, {}
        self.definitions: dict[str, str] = {}
        self.files: list[Path] = []
        self.listed: set[str] = set()
        self._seen: set[str] = set()

    def by_code(self, code: str, exercises: set[str]) -> None:
        """Follow the imports of a notebook's cells, and the checks of its exercises."""
        modules = _modules(self.package)
        try:
            tree = ast.parse(code)
        except SyntaxError:  # it will not run either: everything counts
            tree = ast.parse("")
            for name in modules:
                self._take(name, None)
        self.listed = _listed(tree)
        for edge in _edges(self.package, Module("__main__"), tree):
            self._take(*edge)
        for name, module in modules.items():
            if exercises & _keys(module.nodes.get("EXERCISES")):
                self._take(name, None)
        self.files = sorted(set(self.files))

    def _take(self, name: str, attribute: str | None) -> None:
        """Take a definition, or for None a whole module, and all that it uses."""
        module = _modules(self.package)[name]
        if attribute is None:
            for each in module.nodes:
                self._take(name, each)
            return
        key = f"{name}.{attribute}"
        if key in self._seen:
            return
        self._seen.add(key)
        if attribute not in module.nodes:
            for edge in _elsewhere(self.package, module, attribute):
                self._take(*edge)
            return
        self.files += module.data
        node = module.nodes[attribute]
        if _keys(node) and attribute.isupper():
            node = self._trimmed(key, node)
            self.definitions[key] = ast.unparse(node)
            edges = _edges(self.package, module, node)
        else:
            self.definitions[key] = _text(self.package, name, attribute)
            edges = _uses(self.package, name, attribute)
        for edge in (*edges, *_effects(self.package, name)):
            self._take(*edge)

    def _trimmed(self, key: str, node: ast.stmt) -> ast.stmt:
        """A registry with the entries that count."""
        keys = _keys(node)
        every = self.known is None or key in self.listed
        kept = keys if every else keys & set(self.known.get(key, keys))
        self.entries[key] = sorted(kept)
        pairs = list(zip(node.value.keys, node.value.values, strict=True))
        taken = [
            (k, v)
            for k, v in pairs
            if not isinstance(k, ast.Constant) or k.value in kept
        ]
        trimmed = ast.Dict([k for k, _ in taken], [v for _, v in taken])
        name = ast.Name(key.rpartition(".")[2])
        return ast.fix_missing_locations(ast.Assign([name], trimmed))


def _listed(tree: ast.AST) -> set[str]:
    """The imported names that code uses without a key: it may list their entries."""
    imports = _imports(tree)
    by_key = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Subscript)
    }
    names = [
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and id(node) not in by_key
    ]
    return {".".join(map(str, imports[name])) for name in names if name in imports}


Edge = tuple[str, str | None]  # module and definition, None for all of it


def _edges(package: Path, module: Module, node: ast.AST) -> list[Edge]:
    """Everything of the package that a piece of a module's code names."""
    modules = _modules(package)
    imports = module.imports | _imports(node)
    found, through = [], set()
    for part in ast.walk(node):
        local = getattr(getattr(part, "value", None), "id", None)
        if not isinstance(part, ast.Attribute) or local not in imports:
            continue
        target = ".".join(filter(None, imports[local]))
        if target in modules:  # module.definition
            through.add(id(part.value))
            found.append((target, part.attr))
    for part in ast.walk(node):
        if not isinstance(part, ast.Name) or id(part) in through:
            continue
        if part.id in module.nodes:
            found.append((module.name, part.id))
        elif part.id in imports:
            found += _imported(package, *imports[part.id])
    return found


def _imported(package: Path, name: str, attribute: str | None) -> list[Edge]:
    modules = _modules(package)
    whole = ".".join(filter(None, (name, attribute)))
    if whole in modules:
        return [(whole, None)]
    return [(name, attribute)] if name in modules and attribute else []


def _elsewhere(package: Path, module: Module, attribute: str) -> list[Edge]:
    """Where a name comes from that a module passes on: an import, or the lazy face."""
    whole = f"{module.name}.{attribute}"
    if whole in _modules(package):
        return [(whole, None)]
    if attribute in module.imports:
        return _imported(package, *module.imports[attribute])
    if "FACE" in module.nodes:
        face = ast.literal_eval(module.nodes["FACE"].value)
        return [(face[attribute], attribute)] if attribute in face else []
    return []


@cache
def _uses(package: Path, name: str, attribute: str) -> tuple[Edge, ...]:
    module = _modules(package)[name]
    return tuple(_edges(package, module, module.nodes[attribute]))


@cache
def _effects(package: Path, name: str) -> tuple[Edge, ...]:
    """What a module uses when it is imported."""
    module = _modules(package)[name]
    edges = [_edges(package, module, effect) for effect in module.effects]
    return tuple(edge for found in edges for edge in found)


@cache
def _text(package: Path, name: str, attribute: str) -> str:
    node = _modules(package)[name].nodes[attribute]
    return ast.unparse(_without_docstrings(node))


def _keys(node: ast.stmt | None) -> set[str]:
    """The text keys of a dict that a statement assigns."""
    value = getattr(node, "value", None)
    if not isinstance(value, ast.Dict):
        return set()
    constants = [key.value for key in value.keys if isinstance(key, ast.Constant)]
    return {key for key in constants if isinstance(key, str)}


@cache
def _modules(package: Path) -> dict[str, Module]:
    """Every module of the package, by its dotted name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found[name] = _module(name, path, is_package)
    return found


def _module(name: str, path: Path, is_package: bool) -> Module:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    module = Module(name, is_package, imports=_imports(tree, top=True))
    for node in tree.body:
        targets = _targets(node)
        for target in targets:
            module.nodes[target] = node
        if not targets and not isinstance(node, ast.Import | ast.ImportFrom | ast.Expr):
            module.effects.append(node)
    beside = [p for p in path.parent.rglob("*") if p.suffix in DATA]
    module.data = [p for p in beside if p.name in text or p.parent.name in _texts(tree)]
    return module


def _texts(tree: ast.AST) -> set[str]:
    """The text constants of a module, among them the folders that it reads."""
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _targets(node: ast.stmt) -> list[str]:
    """The names that a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        names = [n for target in node.targets for n in ast.walk(target)]
        return [n.id for n in names if isinstance(n, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def _imports(tree: ast.AST, top: bool = False) -> dict[str, tuple[str, str | None]]:
    """Local name to (module, attribute), attribute None for the module itself."""
    found = {}
    for node in tree.body if top else ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                local = alias.asname or alias.name.partition(".")[0]
                found[local] = (alias.name if alias.asname else local, None)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found[alias.asname or alias.name] = (node.module, alias.name)
    return found


def _without_docstrings(node: ast.stmt) -> ast.stmt:
    """A copy of a definition without the docstrings in it."""
    copied = ast.parse(ast.unparse(node)).body[0]
    for part in ast.walk(copied):
        can_have = isinstance(
            part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        )
        if can_have and ast.get_docstring(part) is not None:
            part.body = part.body[1:] or [ast.Pass()]
    return copied


@cache
def _sum_of(path: Path, size: int, changed: int) -> str:
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def _file_sum(path: Path) -> str:
    found = path.stat()
    return _sum_of(path, found.st_size, found.st_mtime_ns)
