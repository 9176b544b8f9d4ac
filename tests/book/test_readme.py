"""What README, CONTRIBUTING and the pages say of chapters, files and commands is so.

Their links lead somewhere, their examples run, their tables are fresh.
"""

import concurrent.futures
import contextlib
import importlib
import re
import runpy
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cv2
import examples
import figures
import modules
import onnx  # noqa: F401, before a stand-in for `google`, of which it needs a part
import pytest
import readme
import yaml
from chapters import row
from examples import ROOT
from PIL import Image

import hpkit
from hpkit.__main__ import COMMANDS
from hpkit.__main__ import main as hpkit_command
from hpkit.book import conf
from hpkit.book.executed import find_notebooks
from hpkit.book.parameters import defaults
from hpkit.data import sets
from hpkit.experiments import runs

PAGES = examples.pages()
TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
OUTSIDE = {page: examples.FENCED.sub("", text) for page, text in TEXTS.items()}
README = TEXTS[Path("README.md")]


def line_of(page: str, start: str) -> str:
    """The one line of a page that starts like this."""
    (line,) = [
        line for line in TEXTS[Path(page)].splitlines() if line.startswith(start)
    ]
    return line


@pytest.mark.parametrize("path", find_notebooks([]), ids=lambda path: path.stem)
def test_tables_of_chapters(path):
    question, minutes, needs = row(path)
    line = line_of("README.md", f"| [{path.stem}]")
    start = f"| [{path.stem}](notebooks/{path.name}) | {question} | "
    assert re.fullmatch(
        rf"{re.escape(start)}((\d+ s|not timed) \| ){{2}}{re.escape(minutes)} \|", line
    ), f"{start}NN s | NN s | {minutes} |"
    line = line_of("notebooks/pages/teaching.md", f"| [{path.stem}]")
    assert line == f"| [{path.stem}](../{path.name}) | {needs} |"


def test_the_readme_is_short():
    assert len(README.encode()) <= 9000


# --- links and names ----------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Of the headings of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", OUTSIDE[page], re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def wrong_links(page: Path) -> list[str]:
    """Links within the repository that lead nowhere."""
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", OUTSIDE[page]):
        name, _, place = link.partition("#")
        if name.startswith("https://"):
            continue
        target = (ROOT / page.parent / name).resolve() if name else ROOT / page
        inside = target.relative_to(ROOT)
        if not target.exists() or (place and place not in anchors(inside)):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page):
    assert re.search(r"\]\(", OUTSIDE[page])
    assert wrong_links(page) == []


def test_a_wrong_link_is_told(monkeypatch):
    text = "# A b?\n[a](#a-b) [b](#b) [c](notebooks/pages/none.md) [d](LICENSE) [e](https://x)"
    monkeypatch.setitem(OUTSIDE, Path("README.md"), text)
    assert wrong_links(Path("README.md")) == ["#b", "notebooks/pages/none.md"]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.parts[0] == "notebooks"], ids=str
)
def test_every_page_is_linked_from_the_readme_and_listed_on_the_site(page):
    assert f"({page}" in README
    index = (Path(conf.__file__).parent / "index.md").read_text(encoding="utf-8")
    assert f"\n{page.with_suffix('')}\n" in index


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_named_files_and_definitions_exist(page):
    named = re.findall(r"\b(?:tests|notebooks|hpkit)/[\w./-]+", OUTSIDE[page])
    examples_only = (
        "hpkit/lessons/exercises/chNN.py",
        "notebooks/NN_name.ipynb",
        "notebooks/pages/name.md",
    )
    named = [
        name.rstrip(".") for name in named if name.rstrip(".") not in examples_only
    ]
    assert not [name for name in named if not (ROOT / name).exists()]
    for name in re.findall(r"`(hpkit(?:\.\w+)+)`", OUTSIDE[page]):
        assert is_there(name), name


def is_there(name: str) -> bool:
    """Whether this is a module or something in one."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, definition = name.rpartition(".")
        return hasattr(importlib.import_module(module), definition)
    return True


def test_registries_are_where_contributors_are_sent():
    rows = re.findall(r"^\| (?:a|an|initial)\b.*", TEXTS[Path("CONTRIBUTING.md")], re.M)
    found = [
        pair
        for line in rows
        for pair in re.findall(r"`([A-Z_]{3,})`[^|`]*`(hpkit/\w[\w/]*\.py)`", line)
    ]
    assert len(found) >= 13
    for name, path in found:
        if "NN" in path:
            continue
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        assert isinstance(getattr(module, name), dict), name


# --- examples -----------------------------------------------------------------------


def help_of(capsys, *command: str) -> str:
    """What `hpkit COMMAND --help` says."""
    with contextlib.suppress(SystemExit):
        hpkit_command([*command, "--help"])
    return capsys.readouterr().out


def test_commands_and_options_exist(capsys):
    told = {name: help_of(capsys, name) for name in COMMANDS}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for words in examples.commands():
        if words[0] == "make":
            target = next(word for word in words[1:] if "=" not in word)
            assert re.search(rf"^{target}:", makefile, re.M), words
        elif "hpkit" in words[:3]:
            name, *rest = words[words.index("hpkit") + 1 :] or ["--help"]
            assert name in {*COMMANDS, "--help", "COMMAND"}, words
            said = told.get(name, "--help")
            if name == "record" and rest:
                assert rest[0] in said, words
                said += help_of(capsys, name, rest[0])
            assert not [word for word in rest if word[0] == "-" and word not in said]


def test_options_that_are_named_alone_exist(capsys):
    told = "".join(help_of(capsys, name) for name in COMMANDS)
    alone = {
        option
        for page in PAGES
        for option in re.findall(r"`(--[a-z-]+)", OUTSIDE[page])
    }
    assert len(alone) >= 6 and not [option for option in alone if option not in told]


def test_notebooks_and_parameters_of_examples_exist():
    for words in examples.commands():
        named = [
            Path(word).stem
            for word in words
            if re.match(r"(notebooks/)?\d\d_\w+", word)
        ]
        parameters = [words[n + 1] for n, word in enumerate(words) if word == "-p"]
        files = [words[n + 1] for n, word in enumerate(words) if word == "-f"]
        assert all((ROOT / file).is_file() for file in files), words
        valid = (
            [name for path in find_notebooks(named) for name in defaults(path)]
            if named
            else []
        )
        assert set(parameters) <= set(valid), words


def test_the_tests_without_make_are_those_of_make():
    (words,) = [words for words in examples.commands() if "pytest" in words]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(word in makefile for word in words[3:])


class Pool(ThreadPoolExecutor):
    """Stands for processes, one at a time."""

    def __init__(self, *_: object) -> None:
        super().__init__(1)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Sweeps train nothing, their pool is here, and two photos of a door lie about."""
    load = sets.load
    monkeypatch.setattr(sets, "load", lambda data, points=4: load(data, points=points))
    monkeypatch.setattr(
        runs,
        "_row",
        lambda config, store, progress=False: {
            **config.row(),
            "key": config.resolved().key(),
        },
    )
    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", Pool)
    drive = SimpleNamespace(mount=lambda where: None)
    client = SimpleNamespace(get_executor=Pool)
    for name, parts in (
        ("google", {}),
        ("google.colab", {"drive": drive}),
        ("distributed", {"Client": lambda address: client}),
    ):
        module = ModuleType(name)
        vars(module).update(parts)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("HPKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name, photo in zip(("door.jpg", "door2.jpg"), figures.views(), strict=False):
        cv2.imwrite(name, photo)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "code"),
    examples.python_examples(),
    ids=[name for name, _ in examples.python_examples()],
)
def test_python_examples_run(name, code, small, tmp_path, capsys):
    (tmp_path / "example.py").write_text(code)
    made = runpy.run_path(str(tmp_path / "example.py"), run_name="__main__")
    if "found" in made:
        assert made["found"].inliers.sum() > 50
    if "table" in made:
        assert made["table"].key.nunique() == len(made["table"]) in (10, 15, 20)
    said = capsys.readouterr().out
    assert said or "print(" not in code


# --- tables, figure, citation -------------------------------------------------------


def test_the_table_of_modules_is_fresh():
    assert readme.table(modules.COMMAND) == modules.table(), (
        "run tests/helpers/modules.py"
    )


def test_the_picture_of_the_package_shows_every_layer():
    picture = dict(examples.blocks(Path("notebooks/pages/package.md")))[""]
    layers = {path.parent.name for path in (ROOT / "hpkit").glob("*/__init__.py")}
    assert layers <= set(re.findall(r"\w+", picture))
    assert layers <= set(modules.LAYERS)


@pytest.mark.parametrize("name", figures.FIGURES)
def test_a_figure_is_small_and_of_what_is_shipped(name):
    path = figures.FOLDER / name
    image = Image.open(path)
    assert image.text["origin"] == figures.origin(name), "run `make figure`"
    assert path.stat().st_size <= 150_000 and image.width <= 1000
    page = (ROOT / "notebooks" / "pages" / "results.md").read_text(encoding="utf-8")
    assert f"]({path.relative_to(ROOT)})" in README or f"](../figures/{name})" in page


def test_the_citation_is_whole_and_of_this_version():
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert told["cff-version"] == "1.2.0" and told["message"]
    own = told["preferred-citation"]
    assert own["type"] == told["type"] == "software"
    for entry in (told, own):
        assert entry["authors"] == [{"name": "the hpkit authors"}]
        assert (
            entry["title"].startswith("hpkit") and entry["version"] == hpkit.__version__
        )
    (paper,) = told["references"]
    assert paper["type"] == "conference-paper" and "HPatches" in paper["title"]
    assert [author["family-names"] for author in paper["authors"]] == [
        "Balntas",
        "Lenc",
        "Vedaldi",
        "Mikolajczyk",
    ]
