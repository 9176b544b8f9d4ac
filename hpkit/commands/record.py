"""`hpkit record`: make the recorded results of the repository anew.

  reference   train what the book's tables and verdicts rest on (hours)
  clinic      run the broken runs of chapter 13 and their healthy twins
  pretrained  train the shipped networks, and what they are compared with
  matching    match the test photos with changed copies of themselves
  unrelated   match photos of different things: how often is that not noticed?
  graf        match a real pair of photos with a known homography
  seen        score both baselines on photos that they saw, and on others
  keypoints   find the points of the embedded data sets

`hpkit record WHAT --help` tells more of one.

example:
  hpkit record matching --draws 3
"""

import os
from collections.abc import Callable
from pathlib import Path

from hpkit.commands import parser

# Each imports what it needs, torch above all, only once its request makes sense.


def reference(argv: list[str]) -> None:
    """`hpkit record reference`: train what the book's tables and verdicts rest on.

    It takes hours and may be stopped at any time: a row that is there is not made
    again. Stages: 1 the coursework's tables at 5 seeds, 2 the descriptor's learning
    rates, deep networks, chance, batch sizes at equal updates, 3 what decides a claim
    at 4 times the budget, 4 the denoiser's learning rates, 5 the same as 3 at 16 times,
    then two more seeds at 4 times, 6 the modifications, 7 the ladder up to the best
    recipe, 8 the best recipe, with and without flips, turns and inversion (timed, so by
    itself, with --workers 1 --threads 2), 9 what is asked of 8 fresh seeds, question by
    question, 10 a tenth of the best recipe, whole and without each of its parts.

    example:
      hpkit record reference --workers 2 --stages 1 2
      hpkit record reference --questions sequences 'batch size'
    """
    made = parser(reference.__doc__)
    add = made.add_argument
    workers = {"type": int, "default": os.cpu_count(), "metavar": "N"}
    add("--workers", help="how many runs at once (default: a core each)", **workers)
    threads = {"type": int, "default": 1, "metavar": "N"}
    add("--threads", help="of each worker (default: 1)", **threads)
    add("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    stages = {"type": int, "nargs": "+", "choices": range(1, 11), "metavar": "N"}
    add("--stages", help="1 to 10 (default: all but 8)", **stages)
    names = {"nargs": "+", "metavar": "NAME"}
    add("--questions", help="only these of stage 9, such as 'batch size'", **names)
    given = made.parse_args(argv)
    if given.questions and given.stages not in (None, [9]):
        made.error("--questions are of stage 9: expected no other --stages")
    from hpkit.record.reference import QUESTIONS, USUAL, record

    given.stages = given.stages or ([9] if given.questions else USUAL)
    given.questions = given.questions or QUESTIONS
    record(**vars(given))


def clinic(argv: list[str]) -> None:
    """`hpkit record clinic`: run the broken runs of chapter 13 and their healthy twins.

    All of them take ten minutes on one core; rows of other runs are left as they are.

    example:
      hpkit record clinic 3 4 --seeds 0
    """
    made = parser(clinic.__doc__)
    numbers = {"type": int, "nargs": "*", "choices": range(13), "metavar": "PATIENT"}
    made.add_argument("patients", help="0 to 10 (default: all)", **numbers)
    made.add_argument(
        "--seeds", nargs="+", type=int, metavar="N", help="default: 0 1 2"
    )
    given = made.parse_args(argv)
    from hpkit.record.clinic import PATIENTS, SEEDS, record

    record(given.patients or PATIENTS, given.seeds or SEEDS)


def pretrained(argv: list[str]) -> None:
    """`hpkit record pretrained`: train the shipped networks, and what they meet.

    A quarter of an hour a seed on two cores that do nothing else. Every run is kept in
    the store, so the same command goes on where it stopped. The first seed is shipped.

    example:
      hpkit record pretrained --seeds 0 1 2
    """
    made = parser(pretrained.__doc__)
    add = made.add_argument
    add("--seeds", type=int, nargs="+", metavar="N", help="default: 0 1 2")
    threads = {"type": int, "default": 2, "metavar": "N"}
    add("--threads", help="of the descriptor's training (default: 2)", **threads)
    given = made.parse_args(argv)
    from hpkit.record.pretrained import SEEDS, record

    record(given.seeds or SEEDS, given.threads)


def matching(argv: list[str]) -> None:
    """`hpkit record matching`: match the test photos with changed copies of themselves.

    Three minutes on one core.

    example:
      hpkit record matching --draws 3
    """
    made = parser(matching.__doc__)
    draws = {"type": int, "default": 3, "metavar": "N"}
    made.add_argument(
        "--draws", help="random changes of each kind (default: 3)", **draws
    )
    given = made.parse_args(argv)
    from hpkit.record.matching import record

    record(given.draws)


def unrelated(argv: list[str]) -> None:
    """`hpkit record unrelated`: match photos of different things, and count alarms.

    A quarter of an hour on one core.

    example:
      hpkit record unrelated --second 8
    """
    made = parser(unrelated.__doc__)
    second = {"type": int, "default": 8, "metavar": "N"}
    made.add_argument("--second", help="pictures for each photo (default: 8)", **second)
    given = made.parse_args(argv)
    from hpkit.record.unrelated import record

    record(given.second)


def graf(argv: list[str]) -> None:
    """`hpkit record graf`: match a real pair of photos with a known homography.

    FOLDER holds graf1.png, graf3.png and H1to3p.xml, as Debian's package opencv-doc
    does.

    example:
      hpkit record graf /usr/share/doc/opencv-doc/examples/data
    """
    made = parser(graf.__doc__)
    made.add_argument("folder", type=Path, metavar="FOLDER")
    given = made.parse_args(argv)
    from hpkit.record.graf import record

    record(given.folder)


def seen(argv: list[str]) -> None:
    """`hpkit record seen`: score both baselines on photos that they saw, and on others.

    A quarter of an hour on one core where the store has the runs of the fresh seeds. A
    seed that is there is not made again: delete results/seen.csv to make all anew.

    example:
      hpkit record seen
    """
    parser(seen.__doc__).parse_args(argv)
    from hpkit.record.seen import record

    record()


def keypoints(argv: list[str]) -> None:
    """`hpkit record keypoints`: find the points of the embedded data sets.

    Once per version of the data: whatever was trained on the old points is void.

    example:
      hpkit record keypoints scenes
    """
    made = parser(keypoints.__doc__)
    made.add_argument("data", choices=("photos", "scenes"))
    given = made.parse_args(argv)
    from hpkit.record.keypoints import record_photos, record_scenes

    {"photos": record_photos, "scenes": record_scenes}[given.data]()


KINDS: dict[str, Callable[[list[str]], None]] = {
    "reference": reference,
    "clinic": clinic,
    "pretrained": pretrained,
    "matching": matching,
    "unrelated": unrelated,
    "graf": graf,
    "seen": seen,
    "keypoints": keypoints,
}


def main(argv: list[str]) -> int:
    """0 where all of it was recorded."""
    made = parser(__doc__)
    made.usage = "hpkit record WHAT ..."
    if not argv or argv[0].startswith("-"):
        made.parse_args(argv or ["--help"])
        return 0
    name, *rest = argv
    if name not in KINDS:
        expected = ", ".join(KINDS)
        raise ValueError(f"nothing recorded is called {name!r}: expected {expected}")
    KINDS[name](rest)
    return 0
