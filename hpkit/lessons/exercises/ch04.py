"""The checks behind chapter 04; see `checks`."""

from collections.abc import Callable, Sequence

import numpy as np

from hpkit.data.sets import load
from hpkit.evaluation.baselines import rootsift
from hpkit.evaluation.precision import average_precision
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


@of_a_function("ap(hits, total)")
def ap(answer: Callable[[np.ndarray, int], float]) -> str:
    """Must equal the package's average precision of made-up rankings."""
    random = np.random.RandomState(0)
    rankings = [np.array([1, 0, 1, 1, 0]), (random.rand(200) < 0.3).astype(int)]
    for hits in rankings:
        total = int(hits.sum()) + 3  # three were never found
        expected = average_precision(-np.arange(len(hits)), hits, total)
        found = answer(hits.copy(), total)
        if np.shape(found) != ():
            return f"this gave the shape {np.shape(found)}, expected one number"
        if not abs(found - expected) <= 1e-9:  # NaN is wrong, too
            shown = hits.tolist() if len(hits) < 10 else f"{hits.sum()} in {len(hits)}"
            return _mistake(float(found), hits, total) or (
                f"for hits {shown} and a total of {total} it gives {float(found):.6f}, "
                f"expected {expected:.6f}: the sum of (r[k] - r[k-1]) (p[k] + p[k-1]) "
                "/ 2"
            )
    return ""


def _mistake(found: float, hits: np.ndarray, total: int) -> str:
    """The hint for an average precision that is wrong in a usual way, or ""."""
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    recall, inside = np.cumsum(hits) / total, np.diff(precision) / 2 + precision[:-1]
    later = float((np.diff(recall) * inside).sum())
    known = {
        float((precision * hits).sum()) / total: "this is the step rule: a strip is as "
        "high as the mean of the precisions at its two ends",
        average_precision(-np.arange(len(hits)), hits): "recall is the hits so far "
        "divided by `total`: some hits are not in the list",
        later: "the strip before the first item is missing: the curve starts at recall "
        "0 and precision 1",
        later + recall[0] * precision[0] / 2: "before the first item the precision is "
        "1, not 0",
    }
    return next(
        (text for value, text in known.items() if abs(found - value) < 1e-9), ""
    )


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
    "ap": ap,
}
