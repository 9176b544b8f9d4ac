"""The checks behind chapter 04; see `checks`."""

from collections.abc import Callable, Sequence

import numpy as np

from hpkit.data.sets import load
from hpkit.evaluation.baselines import rootsift
from hpkit.lessons.exercises.checks import number, of_a_function


def shrunken_tasks(answer: Sequence[float]) -> str:
    """Must be two mAPs of RootSIFT on smaller tasks.

    The first is retrieval with 5 distractors, the second matching with 5 points.
    """
    from hpkit.data.tasks import tasks_for
    from hpkit.evaluation.describe import describe
    from hpkit.evaluation.scores import evaluate  # as above

    retrieval, matching = map(float, answer)
    test = load("photos", points=60).test
    few, u = test.head(5), describe(rootsift, test["noisy"])
    small = evaluate(u, tasks_for(test, distractors=5))
    tiny = evaluate(describe(rootsift, few["noisy"]), tasks_for(few))
    if abs(retrieval - small.retrieval) >= 0.02:
        return (
            "the first is evaluate(..., tasks_for(test, distractors=5)).retrieval "
            "of RootSIFT"
        )
    if abs(matching - small.matching) < 0.02:
        return (
            "the second is still among 60 points: describe test.head(5), and score "
            "it by its own"
        )
    return (
        ""
        if abs(matching - tiny.matching) < 0.02
        else (
            "the second is the matching of test.head(5), which has tasks of its own: "
            "tasks_for(few)"
        )
    )


@of_a_function("mutual(distance)")
def mutual(answer: Callable[[np.ndarray], np.ndarray]) -> str:
    """Must mark the mutual nearest neighbours of a random and of a hand-made matrix."""
    small = np.array([[5.0, 1, 9], [6, 2, 9], [9, 9, 3]])
    large = np.random.RandomState(0).uniform(size=(50, 50))
    for distance in (small, large):
        there, back = distance.argmin(1), distance.argmin(0)
        found = np.asarray(answer(distance))
        if found.shape != (len(distance),):
            return f"{len(distance)} reference patches gave the shape {found.shape}"
        if np.array_equal(found, there == np.arange(len(distance))):
            return (
                "this marks the correct matches; whether they point back is "
                "another question"
            )
        if not np.array_equal(found, back[there] == np.arange(len(distance))):
            return (
                f"for {small.tolist()} it gives {np.asarray(answer(small)).tolist()}, "
                "expected [True, False, True]: row 1 goes to column 1, which points "
                "to row 0"
            )
    return ""


EXERCISES: dict[str, Callable[[object], str]] = {
    "step_ap": number(
        0.5,
        1e-6,
        "average the precision at the two hits",
        {
            1
            / 3: "average the precision at the two hits alone (and without trapezoids)",
            0.25: "divide by the number of hits, not by the number of items",
        },
    ),
    "shrunken_tasks": shrunken_tasks,
    "mutual": mutual,
}
