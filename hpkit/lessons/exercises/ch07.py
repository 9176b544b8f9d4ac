"""The checks behind chapter 07; see `checks`."""

from collections.abc import Callable

import numpy as np

from hpkit.lessons.exercises.checks import number, of_a_function


def _layer_by_layer(
    weights: list[np.ndarray],
    x: np.ndarray,
    size: Callable,
    *,
    relu: bool = True,
    forward: bool = True,
) -> list[np.ndarray]:
    """Each matrix divided by its layer's size.

    forward: the inputs come from scaled layers, else from unscaled ones. relu: a size
    is measured after the ReLU.
    """
    scaled = []
    for w in weights:
        made = x @ w
        scaled.append(w / size(np.maximum(made, 0) if relu else made))
        x = np.maximum(x @ (scaled[-1] if forward else w), 0)
    return scaled


def _rms(values: np.ndarray) -> float:
    return np.sqrt(np.mean(values**2))


def _lsuv_answers(
    weights: list[np.ndarray], x: np.ndarray
) -> dict[str, list[np.ndarray]]:
    """The right matrices under "", and what each usual mistake gives under its hint."""
    return {
        "": _layer_by_layer(weights, x, _rms),
        "measure after the ReLU: half of the mean square is gone "
        "there": _layer_by_layer(weights, x, _rms, relu=False),
        "after a ReLU the mean is not 0: root mean square, not standard "
        "deviation": _layer_by_layer(weights, x, np.std),
        "divide by the root of the mean square, not by the mean "
        "square": _layer_by_layer(weights, x, lambda values: _rms(values) ** 2),
        "the next layer sees the output of the scaled layer: go on with "
        "that": _layer_by_layer(weights, x, _rms, forward=False),
    }


@of_a_function("lsuv(weights, x)")
def lsuv(answer: Callable) -> str:
    """Must scale three matrices so that each layer puts out a root mean square of 1."""
    rng = np.random.RandomState(0)
    x, shapes = rng.normal(size=(200, 20)), ((20, 30), (30, 40), (40, 10))
    weights = [
        scale * rng.normal(size=s)
        for scale, s in zip((0.01, 5, 1), shapes, strict=True)
    ]
    given = answer([w.copy() for w in weights], x.copy())
    if given is None or len(given) != len(weights):
        return "3 matrices came in: return a list of 3 new ones"
    mine = [np.asarray(w, float) for w in given]
    if tuple(w.shape for w in mine) != shapes:
        return (
            f"matrices of the shapes {list(shapes)} gave {[w.shape for w in mine]}, "
            "expected the same shapes: the scaled weights, not the outputs"
        )
    for hint, expected in _lsuv_answers(weights, x).items():
        if all(np.allclose(a, b) for a, b in zip(mine, expected, strict=True)):
            return hint
    sizes = []
    for w in mine:
        x = np.maximum(x @ w, 0)
        sizes.append(float(_rms(x).round(3)))
    return (
        f"with your weights the outputs have the root mean squares {sizes}, expected "
        "1, 1, 1; each matrix divided by one number"
    )


EXERCISES: dict[str, Callable[[object], str]] = {
    "he_deviation": number(
        1 / 12,
        5e-4,
        "the root of 2 / fan-in, and the kernel has 9 places",
        {
            2 / 288: "that is the variance: take its root",
            0.25: "the fan-in counts the 9 places of the kernel too",
            288**-0.5: "that is LeCun's recipe; the ReLU takes half away",
            (2 / 9) ** 0.5: "the fan-in counts the 32 channels too",
        },
    ),
    "ten_layers": number(
        1024,
        1,
        "every layer passes on the factor so far, and adds its own",
        {
            20: "the factors multiply, they do not add",
            2: "that is after one layer; the next one doubles it again",
            512: "there are ten layers, each with its own factor of 2",
            2**20: "that is the mean square; the signal's size is its root",
        },
    ),
    "gradient_behind_norm": number(
        0.5,
        0.01,
        "the output is the same at w and at 2 w",
        {
            1: "the output stays the same, but reached from weights twice as far out",
            2: "without batch norm a first layer's gradient would grow; here the "
            "output cannot",
            0.25: "that is the step relative to the weight; the gradient alone?",
            0: "the output ignores the weights' scale, not their direction",
        },
    ),
    "lsuv": lsuv,
}
