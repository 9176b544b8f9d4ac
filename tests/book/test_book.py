"""`hpkit book`: what it refuses, runs, keeps and reports."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from hpkit.__main__ import main
from hpkit.book import executed, parameters, run
from hpkit.book.stamps import stamp
from hpkit.commands import book

PARAMETERS = """epochs = 3  # passes
lr = 0.1  # step
name = "a"  # text
flag = True  # or not
seeds = [0, 1]  # runs
limit = None  # seconds"""
PRINT = "print([epochs, lr, name, flag, seeds, limit])"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def write(path: Path, *sources: str) -> Path:
    """A notebook: markdown where a source starts with #, parameters where it is PARAMETERS."""
    notebook = new_notebook(metadata={"kernelspec": KERNEL})
    for source in sources:
        notebook.cells.append(
            (new_markdown_cell if source[0] == "#" else new_code_cell)(source)
        )
    for cell in (c for c in notebook.cells if c.source == PARAMETERS):
        cell.metadata.tags = ["parameters"]
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def first(tmp_path) -> Path:
    return write(tmp_path / "01_first.ipynb", "# One?", PARAMETERS, PRINT)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("epochs", "5", 5),
        ("lr", "1", 1.0),
        ("lr", "1e-3", 0.001),  # text, for YAML
        ("flag", "false", False),  # papermill's own -p gives the text "false"
        ("name", '"01"', "01"),
        ("seeds", "[3]", [3]),
        ("limit", "2.5", 2.5),
    ],
)
def test_values_are_read_as_yaml_and_fitted(first, name, text, value):
    (assigned,) = parameters.assign(
        [first], parameters.read_values([[name, text]], None)
    )
    assert assigned == {name: value} and type(assigned[name]) is type(value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            "-p epochs abc",
            "epochs: 'abc' does not fit, expected int like the default 3",
        ),
        ("-p epochs 2.5", "epochs: 2.5 does not fit, expected int like the default 3"),
        (
            "-p epochs true",
            "epochs: True does not fit, expected int like the default 3",
        ),
        ("-p lr fast", "lr: 'fast' does not fit, expected float like the default 0.1"),
        ("-p lr true", "lr: True does not fit, expected float like the default 0.1"),
        ("-p flag 1", "flag: 1 does not fit, expected bool like the default True"),
        ("-p name 01", "name: 1 does not fit, expected str like the default 'a'"),
        ("-p seeds 3", "seeds: 3 does not fit, expected list like the default [0, 1]"),
        ("-p seeds [a]", "seeds: 'a' does not fit, expected int like the default 0"),
        ("-p seeds []", "seeds: the list is empty, expected at least one value, as in"),
        ("-p data nowhere", 'nowhere: expected "photos", "scenes", "hpatches", or an exi'),
        (
            "-p epoch 3",
            "no parameter 'epoch', expected one of: epochs, flag, limit, lr, name, seeds",
        ),
        ("-p lr {", "parameters (-p) are not valid YAML: while parsing a flow node"),
        ("-f none.yaml", "none.yaml: no such parameter file"),
        ("-f bad.yaml", "parameters (bad.yaml) are not valid YAML: while"),
        (
            "-f list.yaml",
            "list.yaml: holds [1, 2], expected lines of the form name: value",
        ),
        ("-f wrong.yaml", "no parameter 'epoch', expected one of:"),
        ("02_none.ipynb", "02_none.ipynb: no such notebook"),
    ],
)
def test_a_wrong_request_is_refused_in_one_sentence(
    arguments, sentence, first, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text("epochs: [")
    Path("list.yaml").write_text("[1, 2]")
    Path("wrong.yaml").write_text("epoch: 3")
    assert main(["book", str(first), *arguments.split(), "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"hpkit book: {sentence}") and said.count("\n") == 1
    assert not Path("out").exists()


def test_each_notebook_is_given_only_what_it_has(first, tmp_path):
    (tmp_path / "values.yaml").write_text("epochs: 7\nlr: 0.5")
    other = write(tmp_path / "02.ipynb", "# Two?", "x = 1")
    values = parameters.read_values([["lr", "0.25"]], tmp_path / "values.yaml")
    assert parameters.assign([first, other], values) == [{"epochs": 7, "lr": 0.25}, {}]


def test_a_file_is_for_the_whole_book(first, tmp_path, monkeypatch):
    write(tmp_path / "02.ipynb", "# Two?", "x = 1")
    monkeypatch.setattr(book, "NOTEBOOKS", first.parent)
    (tmp_path / "values.yaml").write_text("epochs: 7")
    other, asked = tmp_path / "02.ipynb", []

    async def note(*request):
        asked.append(request)
        return []

    monkeypatch.setattr(book, "run", note)
    options = [
        str(other),
        "--out",
        str(tmp_path),
        "--no-site",
        "-f",
        str(tmp_path / "values.yaml"),
    ]
    assert main(["book", *options]) == 0 and asked[0][1] == [{}]
    assert (
        main(["book", *options, "-p", "epochs", "3"]) == 2
    )  # meant for this one, which has none


def play(monkeypatch, *said: str) -> list[str]:
    """Instead of papermill: copies the notebook and says these, one a call; gives what is left."""
    left = list(said)

    async def papermill(source, target, *_):
        shutil.copy(source, target)
        return left.pop(0)

    monkeypatch.setattr(run, "papermill", papermill)
    return left


def test_a_lost_kernel_is_tried_once_more(first, tmp_path, monkeypatch):
    lost = f"RuntimeError: {run.PORT_RACE}"
    left = play(monkeypatch, lost, lost, "never asked")
    result = asyncio.run(run.execute(first, tmp_path / "out", {}, 10, {}))
    assert result.status == "failed" and run.PORT_RACE in result.error
    assert left == ["never asked"]


def test_only_the_second_try_counts(first, tmp_path, monkeypatch):
    play(monkeypatch, f"RuntimeError: {run.PORT_RACE}", "")
    assert asyncio.run(run.execute(first, tmp_path / "out", {}, 10, {})).status == "ran"


@pytest.mark.parametrize(
    ("jobs", "cores", "notebooks", "limits"),
    [
        (1, 2, 5, {}),
        (2, 2, 5, {"OMP_NUM_THREADS": "1"}),
        (3, 2, 5, {"OMP_NUM_THREADS": "1"}),
        (2, 8, 5, {"OMP_NUM_THREADS": "4"}),
        (8, 8, 2, {"OMP_NUM_THREADS": "4"}),
        (2, 8, 1, {}),
    ],
)
def test_so_many_at_a_time_share_the_cores(
    jobs, cores, notebooks, limits, tmp_path, monkeypatch, capsys
):
    running, seen, begun = set(), [], []
    names = [f"{number:02d}" for number in range(notebooks)]

    async def execute(source, out, parameters, timeout, limits):
        running.add(source.stem)
        begun.append(source.stem)
        seen.append((len(running), limits))
        await asyncio.sleep(
            0.02 if source.stem == "00" else 0.001
        )  # the first ends last
        running.remove(source.stem)
        return executed.Result(source.stem, 1.0, "ran")

    monkeypatch.setattr(run, "execute", execute)
    monkeypatch.setattr(run, "cores", lambda: cores)
    every = [{}] * notebooks
    results = asyncio.run(run.run([Path(n) for n in names], every, tmp_path, 10, jobs))
    assert [result.name for result in results] == begun == names
    assert max(at_once for at_once, _ in seen) == min(jobs, notebooks)
    assert [given for _, given in seen] == [limits] * notebooks
    said = re.findall(
        r"^\[(\d+)/(\d+)\] (\d+) \.\.\. 1.0 s, ran$", capsys.readouterr().out, re.M
    )
    assert [(int(n), int(of)) for n, of, _ in said] == [
        (n, notebooks) for n in range(1, notebooks + 1)
    ]
    assert sorted(name for *_, name in said) == names


def test_no_more_cores_than_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 7, 9}, raising=False)
    assert run.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert run.cores() == 1


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_whoever_stops_twice_waits_no_longer(tmp_path):
    """Papermill that takes no notice of the first Ctrl-C, and a kernel that goes on for ever."""
    told = tmp_path / "pid"
    deaf = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN); "
        "kernel = subprocess.Popen(['sleep', '60']); "
        "print(kernel.pid, file=open(sys.argv[1], 'w'), flush=True); time.sleep(60)"
    )

    async def stop_twice():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", deaf, str(told)
        )
        while not (told.exists() and told.read_text()):
            await asyncio.sleep(0.01)
        kernel = int(told.read_text())
        try:
            ending = asyncio.create_task(run.end(process))
            await asyncio.sleep(0.1)
            assert not ending.done()
            ending.cancel()
            await asyncio.wait([ending], timeout=10)
            return ending.done(), process.returncode, is_running(kernel)
        finally:
            os.kill(kernel, signal.SIGKILL)

    assert asyncio.run(stop_twice()) == (True, -signal.SIGKILL, True)


def test_what_cannot_be_written_stops_no_other(first, tmp_path, monkeypatch):
    other = write(tmp_path / "02.ipynb", "# Two?", "x = 1")
    play(monkeypatch, "", "")
    (tmp_path / "out" / "notebooks" / first.name / "in the way").mkdir(parents=True)
    results = asyncio.run(run.run([first, other], [{}, {}], tmp_path / "out", 10))
    assert [result.status for result in results] == ["failed", "ran"]
    assert str(tmp_path / "out" / "notebooks" / first.name) in results[0].error
    assert not list((tmp_path / "out" / "unfinished").glob("*"))


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_the_limit_is_a_cells_and_what_takes_long_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "TELL", 3)
    naps = ["import time\ntime.sleep(12)"] * 4  # together longer than the limit
    long = write(tmp_path / "05_long.ipynb", "# Five?", *naps)
    assert main(["book", str(long), "--out", str(tmp_path), "--timeout", "40", "--no-site"]) == 0
    told = re.findall(r"^05_long: cell (\d) of 5, (\d+) s$", capsys.readouterr().out, re.M)
    cells = [int(cell) for cell, _ in told]
    assert len(set(cells)) > 1 and cells == sorted(cells)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_book_goes_past_failures_and_goes_on_where_it_was(first, tmp_path, capsys):
    out, pid = tmp_path / "out", tmp_path / "pid"
    sleep = f"""import os, time
open({str(pid)!r}, 'w').write(str(os.getpid()))
while True:
    try: time.sleep(600)
    except KeyboardInterrupt: pass"""
    bad = write(
        tmp_path / "02_bad.ipynb",
        "# Two?",
        PARAMETERS,
        "1 + 1",
        "# Why\n1 / 0",
        "1 / 0",
    )
    slow = write(tmp_path / "03_slow.ipynb", "# Three?", sleep)
    last = write(tmp_path / "04_last.ipynb", "# Four?", "print('done')")
    asked = [*map(str, (first, bad, slow, last)), "--out", str(out), "--timeout", "30"]
    assert main(["book", *asked, "-p", "flag", "false", "-p", "lr", "1e-3"]) == 1
    printed, said = capsys.readouterr()
    states = re.findall(r"^\[\d/4\] (\w+) \.\.\. [\d.]+ s, (\w+)$", printed, re.M)
    expected = {
        "01_first": "ran",
        "02_bad": "failed",
        "03_slow": "failed",
        "04_last": "ran",
    }
    assert dict(states) == expected
    assert "02_bad failed: cell 5 (1 / 0): ZeroDivisionError: division by zero" in said
    assert "03_slow failed: cell 2 (import os, time): stopped after 30 s" in said
    assert printed.endswith(f"open {out / 'html' / 'index.html'}\n")
    ran = nbformat.read(out / "notebooks" / "01_first.ipynb", 4)
    assert ran.cells[-1].outputs[0].text == "[3, 0.001, 'a', False, [0, 1], None]\n"
    time.sleep(1)
    assert not is_running(int(pid.read_text()))

    two = [str(first), str(last), "--out", str(out), "--no-site"]
    line = re.compile(r"\] (\w+) \.\.\. [\d.]+ s, (\w+)$", re.M)
    assert (
        main(["book", *two]) == 0
    )  # other parameters for the first, the same for the last
    found = dict(line.findall(capsys.readouterr().out))
    assert found == {"01_first": "ran", "04_last": "kept"}
    write(last, "# Four?", "print('really done')")
    assert main(["book", *two]) == 0
    found = dict(line.findall(capsys.readouterr().out))
    assert found == {"01_first": "kept", "04_last": "ran"}


def test_folders_that_are_named_from_here_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert parameters.placed({"data": "mine"}) == {"data": str(tmp_path / "mine")}
    for same in ({"data": "photos"}, {"data": ["mine"]}, {"epochs": 3}, {"data": None}):
        assert parameters.placed(same) == same
    monkeypatch.setenv("HPKIT_CACHE", "cache")
    monkeypatch.setenv("HPKIT_RUNS", "../runs")
    monkeypatch.delenv("HPKIT_DATA", raising=False)
    found = run.environment()
    assert found["HPKIT_CACHE"] == str(tmp_path / "cache") and "HPKIT_DATA" not in found
    assert Path(found["HPKIT_RUNS"]).resolve() == tmp_path.parent / "runs"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_early_end_is_a_failure_and_figures_are_shown_whatever_the_backend(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    draw = "import matplotlib.pyplot as plt", "plt.plot([1, 2]); plt.show()"
    shown = write(tmp_path / "01.ipynb", "# One?", *draw)
    ended = write(tmp_path / "02.ipynb", "# Two?", "import sys", "sys.exit(0)", "1 / 0")
    found = asyncio.run(run.run([shown, ended], [{}, {}], tmp_path / "out", 120))
    assert [result.status for result in found] == ["ran", "failed"]
    assert found[1].error == "cell 3 (sys.exit(0)): SystemExit: 0"
    made = nbformat.read(tmp_path / "out" / "notebooks" / "01.ipynb", 4)
    assert "image/png" in made.cells[-1].outputs[-1].data
    assert not (tmp_path / "out" / "notebooks" / "02.ipynb").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("said", "seen"), [(None, "3"), ("5", "5")])
def test_a_kernel_has_its_share_of_the_cores(said, seen, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    monkeypatch.setattr(run, "cores", lambda: 6)
    sources = "import os", "print(os.environ['OMP_NUM_THREADS'])"
    two = [write(tmp_path / f"{name}.ipynb", "# One?", *sources) for name in ("1", "2")]
    asyncio.run(run.run(two, [{}, {}], tmp_path / "out", 60))
    ran = [nbformat.read(tmp_path / "out" / "notebooks" / path.name, 4) for path in two]
    assert [notebook.cells[-1].outputs[0].text for notebook in ran] == [f"{seen}\n"] * 2


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("send", "sent"),
    [("kill", signal.SIGINT), ("kill", signal.SIGTERM), ("killpg", signal.SIGINT)],
)
def test_no_kernel_outlives_a_stopped_book(send, sent, tmp_path):
    """The last one is what Ctrl-C in a terminal does: papermill gets it as well."""
    pids = [tmp_path / "1", tmp_path / "2"]
    slow = [
        write(
            path.with_suffix(".ipynb"),
            "# One?",
            "import os, pathlib, time\n"
            f"pathlib.Path({str(path)!r}).write_text(str(os.getpid()))\ntime.sleep(600)",
        )
        for path in pids
    ]
    command = [
        sys.executable,
        "-m",
        "hpkit",
        "book",
        *map(str, slow),
        "--out",
        str(tmp_path / "out"),
    ]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        while not all(
            path.exists() and path.read_text() for path in pids
        ):  # both at once
            assert process.poll() is None
            time.sleep(0.1)
        getattr(os, send)(process.pid, sent)
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 130
        assert said.endswith(
            "stopped: the same command goes on with what is not finished\n"
        )
        time.sleep(1)
        assert not any(is_running(int(path.read_text())) for path in pids)
        for folder in ("notebooks", "unfinished"):
            assert not list((tmp_path / "out" / folder).glob("*"))
    finally:  # a failure must not leave kernels that sleep beside the other tests
        process.kill()
        for path in (path for path in pids if path.exists()):
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(path.read_text()), signal.SIGKILL)


def test_what_was_changed_is_run_again(first, tmp_path, monkeypatch):
    """Cells and code have one stamp; `tests/book/test_notebooks.py` says what is in it."""
    now = {}
    for module in (run, executed):
        monkeypatch.setattr(
            module, "stamp", lambda *_: {"stamp": now["stamp"], "entries": {}}
        )
    play(monkeypatch, "", "")
    states = []
    for now["stamp"] in ("one", "one", "two"):
        states.append(
            asyncio.run(run.execute(first, tmp_path / "out", {}, 10, {})).status
        )
    assert states == ["ran", "kept", "ran"]


def executed_in(out: Path, source: Path, seconds: float = 7.0) -> None:
    """As the book leaves a notebook that ran."""
    notebook = nbformat.read(source, 4)
    target = out / "notebooks" / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    made = executed.record(notebook, stamp(notebook, {}), {}, seconds)
    notebook.metadata.hpkit = made
    nbformat.write(notebook, target)


def test_a_site_shows_an_edited_notebook_as_it_is_now(first, tmp_path):
    """Not an execution of cells that are no longer there."""
    out = tmp_path / "out"
    executed_in(out, first)
    assert executed.collect([first], out) == [executed.Result("01_first", 7.0, "kept")]
    write(first, "# One?", "x = 2")
    assert executed.collect([first], out) == [executed.Result("01_first", 0, "kept")]
    assert "x = 2" in (out / "notebooks" / first.name).read_text()


def test_running_one_chapter_keeps_the_pages_of_the_others(first, tmp_path):
    out, others = tmp_path / "out", [write(tmp_path / f"0{n}.ipynb", "# N?", "x = 1") for n in (2, 3)]
    for path in (first, others[0]):
        executed_in(out, path)
    ran = [executed.Result("01_first", 3.0, "ran")]
    found = executed.beside(ran, [first, *others], out)
    assert found == [*ran, executed.Result("02", 7.0, "kept")]
