"""A leaderboard for a class: every descriptor that was handed in, on the same patches.

A hand-in is a network's weights, which as safetensors cannot run code, or a file
`descriptor.py` with a function. The function runs behind the fence. What it finds there
are patches in an order that nobody tells: no points, no photos, no answers. So all that
it can do is describe them.
"""

import asyncio
import io
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import torch
from nbformat.v4 import new_code_cell, new_notebook
from safetensors import SafetensorError
from safetensors.torch import load as read_weights
from torch import nn

from hpkit.book.hand_ins import Student, collect
from hpkit.book.invigilate import Limits, Sitting, sit
from hpkit.data.patches import PatchSet
from hpkit.data.tasks import tasks_for
from hpkit.evaluation.baselines import raw_pixels, rootsift
from hpkit.evaluation.describe import describe
from hpkit.evaluation.scores import Scores, evaluate
from hpkit.experiments.configs import DescriptorConfig
from hpkit.experiments.intervals import interval
from hpkit.experiments.runs import network
from hpkit.files import read_json
from hpkit.networks.l2net import L2Net
from hpkit.networks.pretrained import pretrained

FUNCTION, WEIGHTS = "descriptor.py", ".safetensors"
LONGEST = 1024  # numbers of a descriptor
CELL = """\
import numpy as np
from descriptor import describe

patches = np.load("patches.npy", allow_pickle=False)
found = np.ascontiguousarray(describe(patches), dtype=np.float32)
np.save("../handed.npy", found)
"""
REFERENCES = {
    "raw pixels": lambda patches: raw_pixels(patches),
    "RootSIFT": lambda patches: rootsift(patches),
}


@dataclass
class Entry:
    """A line of the board. by_photo: matching mAP of each test sequence.

    problem: why there are no scores, in a sentence, or "".
    """

    name: str
    what: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    by_photo: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))
    seconds: float = 0.0
    problem: str = ""


class Exam:
    """The patches that everyone describes, and how the answers are scored.

    patches: a PatchSet whose `source` is handed out, in an order drawn from `seed`.
    """

    def __init__(self, patches: PatchSet, source: str, seed: int | None = None) -> None:
        self.patches = patches[source].reshape(-1, 32, 32)
        self.order = np.random.default_rng(seed).permutation(len(self.patches))
        self.points = len(patches)
        self.tasks = tasks_for(patches)

    def questions(self) -> bytes:
        """The patches as a file .npy, in the secret order."""
        file = io.BytesIO()
        np.save(file, self.patches[self.order])
        return file.getvalue()

    def answers(self, data: bytes) -> np.ndarray:
        """Descriptors (points, 16, d) from the bytes of the file that came back.

        Raises ValueError for what is none.
        """
        try:
            found = np.load(io.BytesIO(data), allow_pickle=False)
        except Exception as error:  # made to harm, or cut
            raise ValueError("what came back is no array") from error
        if found.ndim != 2 or len(found) != len(self.order) or not found.shape[1]:
            raise ValueError(
                f"describe gave {found.dtype} {found.shape}, expected one row for each "
                f"of {len(self.order)} patches"
            )
        if found.shape[1] > LONGEST or found.dtype != np.float32:
            raise ValueError(
                f"describe gave {found.dtype} with {found.shape[1]} numbers a patch, "
                f"expected at most {LONGEST}"
            )
        sorted_back = np.empty_like(found)
        sorted_back[self.order] = found
        return sorted_back.reshape(self.points, 16, -1)

    def score(self, entry: Entry, descriptors: np.ndarray) -> None:
        """Write the scores into an entry."""
        found: Scores = evaluate(descriptors, self.tasks)
        for task in ("verification", "matching", "retrieval"):
            entry.scores[task] = float(getattr(found, task))
        matched = found.table[found.table.task == "matching"]
        entry.by_photo = matched.groupby("sequence").ap.mean()


def score_class(
    source: Path, exam: Exam, given: Limits, hidden: list[Path]
) -> list[Entry]:
    """An entry for each student in a folder or zip, and those to compare with.

    hidden: folders that a hand-in must not see.
    """
    entries = [_reference(exam, name, make) for name, make in REFERENCES.items()]
    entries.append(_reference(exam, "hpkit's own network", pretrained()))
    with tempfile.TemporaryDirectory(prefix="hpkit-board-") as work:
        unpacked, desks = Path(work) / "unpacked", Path(work) / "desks"
        desks.mkdir()
        students, lost = collect(source, unpacked, ())
        if not students:
            told = f" ({lost[0]})" if lost else ""
            raise ValueError(
                f"{source}: no hand-ins{told}, expected STUDENT/{FUNCTION} or "
                f"STUDENT/weights{WEIGHTS}"
            )
        hidden = [*hidden, source.resolve(), Path(work)]
        for student in students:
            entry = _entry(student, exam, desks, given, hidden)
            told = entry.problem or f"matching {entry.scores['matching']:.3f}"
            print(f"{entry.name}: {told}", flush=True)
            entries.append(entry)
    return entries


def _reference(exam: Exam, name: str, descriptor: object) -> Entry:
    entry = Entry(name, "to compare with")
    started = time.perf_counter()
    described = describe(descriptor, exam.patches)
    entry.seconds = time.perf_counter() - started
    exam.score(entry, described.reshape(exam.points, 16, -1))
    return entry


def _entry(
    student: Student, exam: Exam, desks: Path, given: Limits, hidden: list[Path]
) -> Entry:
    """What a student's hand-in scores; a problem of one stops no other."""
    entry = Entry(" ".join(filter(None, (student.name, student.number))))
    try:
        place = hand_in(student)
        started = time.perf_counter()
        if place.endswith(WEIGHTS):
            entry.what = "weights"
            model = network_of(student, place)
            described = describe(model, exam.patches).reshape(exam.points, 16, -1)
        else:
            entry.what = "function"
            described = run_function(student, place, exam, desks, given, hidden)
        entry.seconds = time.perf_counter() - started
        exam.score(entry, described)
    except ValueError as error:
        entry.problem = str(error)[:300]
    except Exception as error:  # nobody knows what a hand-in holds
        entry.problem = f"could not be scored ({type(error).__name__}: {error})"[:300]
    return entry


def hand_in(student: Student) -> str:
    """The place of the one file that counts.

    Raises ValueError where there is none, or more than one that could.
    """
    functions = [p for p in student.files if PurePosixPath(p).name == FUNCTION]
    weights = [p for p in student.files if p.endswith(WEIGHTS)]
    found = functions or weights
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{' and '.join(sorted(found)[:3])}: expected one of them")
    held = student.problems[:1] or [", ".join(sorted(student.files)[:3]) or "nothing"]
    raise ValueError(f"{held[0]}: expected {FUNCTION}, or weights as {WEIGHTS}")


def network_of(student: Student, place: str) -> nn.Module:
    """The network whose weights these are, in eval mode.

    A kept run has a config.json beside them that says how it is built; without one they
    are those of `L2Net()`. Raises ValueError where they do not fit.
    """
    beside = str(PurePosixPath(place).with_name("config.json"))
    model = L2Net()
    if beside in student.files:
        try:
            config = DescriptorConfig.from_row(read_json(student.files[beside]))
        except Exception as error:
            raise ValueError(f"{beside}: not the configuration of a run") from error
        if config.network != "l2net" or config.test_source == "denoised":
            raise ValueError(
                f"{beside}: this run needs a denoiser, too; hand in a {FUNCTION} that "
                "cleans the patches and describes them"
            )
        model = network(config)
    try:
        model.load_state_dict(read_weights(student.files[place].read_bytes()))
    except (SafetensorError, RuntimeError, ValueError) as error:
        said = str(error).strip().splitlines()[0][:120]
        raise ValueError(
            f"{place}: not the weights of this network ({said}); expected those of "
            "L2Net(), or a config.json of the run beside them"
        ) from error
    if not all(torch.isfinite(value).all() for value in model.state_dict().values()):
        raise ValueError(f"{place}: holds NaN or infinite weights")
    return model.eval()


def run_function(
    student: Student,
    place: str,
    exam: Exam,
    desks: Path,
    given: Limits,
    hidden: list[Path],
) -> np.ndarray:
    """Descriptors by a hand-in's own code, at a desk of its own.

    Raises ValueError with what went wrong there.
    """
    folder = PurePosixPath(place).parent
    files = {
        str(PurePosixPath(name).relative_to(folder)): path
        for name, path in student.files.items()
        if PurePosixPath(name).is_relative_to(folder)
    }
    with tempfile.NamedTemporaryFile(suffix=".npy") as patches:
        patches.write(exam.questions())
        patches.flush()
        files["patches.npy"] = Path(patches.name)
        notebook = new_notebook(cells=[new_code_cell(CELL)])
        sitting = Sitting(files, "run-descriptor.ipynb", notebook, None, "handed.npy")
        seen = asyncio.run(sit(sitting, desks, given, jobs=1, hidden=hidden))
    if seen.problems:
        raise ValueError(seen.problems[0])
    return exam.answers(seen.handed)


# --- the board ------------------------------------------------------------------------


def board(entries: list[Entry]) -> pd.DataFrame:
    """A row per entry, the best match first; those without scores come last.

    low, high: the 95 % interval of matching over the test sequences. level: whether the
    best entry's lead over it, sequence by sequence, may be nothing.
    """
    scored = sorted(
        (entry for entry in entries if entry.scores),
        key=lambda entry: -entry.scores["matching"],
    )
    rows = []
    for rank, entry in enumerate(scored, 1):
        low, high = interval(entry.by_photo)[1:]
        behind = interval(scored[0].by_photo - entry.by_photo)[1]
        rows.append(
            {
                "rank": rank,
                "name": entry.name,
                "matching": entry.scores["matching"],
                "low": low,
                "high": high,
                "level": "" if behind > 0 else "with the first",
                "verification": entry.scores["verification"],
                "retrieval": entry.scores["retrieval"],
                "seconds": round(entry.seconds, 1),
                "what": entry.what,
                "problem": "",
            }
        )
    failed = [entry for entry in entries if not entry.scores]
    for entry in sorted(failed, key=lambda entry: entry.name):
        rows.append({"name": entry.name, "what": entry.what, "problem": entry.problem})
    return pd.DataFrame(rows).astype({"rank": "Int64"})
