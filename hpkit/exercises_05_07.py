"""The checks behind the exercises of chapters 05 to 07; see `hpkit.exercises`."""

from collections.abc import Callable

import numpy as np

from hpkit.exercises import number


def rmsprop(answer: Callable) -> str:
    """Must give RMSProp's weights for a few gradients."""
    if not callable(answer):
        return "this is not a function: define rmsprop(gradients, lr) and pass it by its name"
    gradients, weight, v, expected = [3.0, -1.0, 0.5, 2.0], 0.0, 0.0, []
    for g in gradients:
        v = 0.9 * v + 0.1 * g**2
        weight -= 0.01 * g / (v**0.5 + 1e-7)
        expected.append(weight)
    mine = np.asarray(answer(gradients, 0.01), float)
    if mine.shape != (4,):
        return f"4 gradients gave the shape {mine.shape}, expected a weight after each step"
    if np.allclose(mine, expected):
        return ""
    if np.isclose(mine[0], -0.01, atol=1e-6):
        return "the average is not corrected here: the first step is about three times lr"
    return f"after {gradients} it is {mine.round(5).tolist()}, expected {np.round(expected, 5)}"


CHAINS = ([], [(3, 1)], [(3, 1), (3, 1)], [(3, 1), (2, 2), (3, 1)], [(7, 2), (3, 2), (3, 1)],
          [(3, 1), (3, 1), (3, 2), (3, 1), (3, 2), (3, 1), (8, 1)])  # the last is L2-Net


def width(layers: list[tuple[int, int]]) -> int:
    """Input pixels, along one row, that one output pixel of a chain depends on."""
    wide = 1
    for window, stride in reversed(layers):
        wide = (wide - 1) * stride + window
    return wide


def receptive_field(answer: Callable) -> str:
    """Must give the width of the view for several chains of (window, stride)."""
    if not callable(answer):
        return "this is not a function: define receptive_field(layers) and pass it by its name"
    for layers in CHAINS:
        expected, mine = width(layers), float(answer(list(layers)))
        if mine == expected:
            continue
        known = {1 + sum(k - 1 for k, _ in layers): "the strides are missing: windows of a later "
                 "layer are further apart in the input", width(layers[::-1]): "walk from the "
                 "output to the input: start with the last layer"}
        return f"for {layers} it is {mine:g}, expected {expected}" + (
            f": {known[mine]}" if mine in known else "")
    return ""


def _layer_by_layer(weights: list[np.ndarray], x: np.ndarray, size: Callable, *,
                    relu: bool = True, forward: bool = True) -> list[np.ndarray]:
    """Each matrix divided by its layer's size, for inputs from scaled layers or unscaled ones."""
    scaled = []
    for w in weights:
        made = x @ w
        scaled.append(w / size(np.maximum(made, 0) if relu else made))
        x = np.maximum(x @ (scaled[-1] if forward else w), 0)
    return scaled


def _rms(values: np.ndarray) -> float:
    return np.sqrt(np.mean(values**2))


def _lsuv_answers(weights: list[np.ndarray], x: np.ndarray) -> dict[str, list[np.ndarray]]:
    """The right matrices under "", and under its hint what each usual mistake gives."""
    return {
        "": _layer_by_layer(weights, x, _rms),
        "measure after the ReLU: half of the mean square is gone there":
            _layer_by_layer(weights, x, _rms, relu=False),
        "after a ReLU the mean is not 0: root mean square, not standard deviation":
            _layer_by_layer(weights, x, np.std),
        "divide by the root of the mean square, not by the mean square":
            _layer_by_layer(weights, x, lambda values: _rms(values)**2),
        "the next layer sees the output of the scaled layer: go on with that":
            _layer_by_layer(weights, x, _rms, forward=False)}


def lsuv(answer: Callable) -> str:
    """Must scale three matrices so that each layer's output has a root mean square of 1."""
    if not callable(answer):
        return "this is not a function: define lsuv(weights, x) and pass it by its name"
    rng = np.random.RandomState(0)
    x, shapes = rng.normal(size=(200, 20)), ((20, 30), (30, 40), (40, 10))
    weights = [scale * rng.normal(size=s) for scale, s in zip((0.01, 5, 1), shapes, strict=True)]
    given = answer([w.copy() for w in weights], x.copy())
    if given is None or len(given) != len(weights):
        return "3 matrices came in: return a list of 3 new ones"
    mine = [np.asarray(w, float) for w in given]
    if tuple(w.shape for w in mine) != shapes:
        return (f"matrices of the shapes {list(shapes)} gave {[w.shape for w in mine]}, expected "
                "the same shapes: the scaled weights, not the outputs")
    for hint, expected in _lsuv_answers(weights, x).items():
        if all(np.allclose(a, b) for a, b in zip(mine, expected, strict=True)):
            return hint
    sizes = []
    for w in mine:
        x = np.maximum(x @ w, 0)
        sizes.append(float(_rms(x).round(3)))
    return (f"with your weights the outputs have the root mean squares {sizes}, expected 1, 1, 1; "
            "each matrix divided by one number")


EXERCISES: dict[str, Callable[[object], str]] = {
    "first_adam_step": number(0.001, 1e-9, "both corrected averages are those of one gradient", {
        -0.001: "downhill: against the sign of the gradient",
        0.042: "the gradient is divided by its own size",
        0.0042: "the average is corrected for its youth"}),
    "momentum_factor": number(10, 0.05, "add up 1 + 0.9 + 0.9² + ...", {
        1.9: "that is the second step; the third keeps 0.9 of it, and so on",
        0.9: "that is what is kept of one step; add them all up"}),
    "rmsprop": rmsprop,
    "pooled_view": number(8, 0, "3 pixels of the last layer, 2 each of the pooling's, and then?", {
        5: "that is without the pooling: each of the 3 pixels is the largest of 2",
        6: "that is before the first convolution, which sees one pixel more on either side",
        7: "each of the 3 pixels is the largest of 2, so there are 6, and one more on either side",
        9: "pooling has windows of 2, not of 3"}),
    "wider_view": number(22, 0, "set conv3 to (5, 1, 2), then last - first + 1 of view(4, 16)", {
        12: "that is the view of the 3 x 3 windows",
        24: "that is the view of pixel 15: odd pixels see further",
        21: "the width counts both ends: last - first + 1"}),
    "receptive_field": receptive_field,
    "he_deviation": number(1 / 12, 5e-4, "the root of 2 / fan-in, and the kernel has 9 places", {
        2 / 288: "that is the variance: take its root",
        0.25: "the fan-in counts the 9 places of the kernel too",
        288**-0.5: "that is LeCun's recipe; the ReLU takes half away",
        (2 / 9)**0.5: "the fan-in counts the 32 channels too"}),
    "ten_layers": number(1024, 1, "every layer passes on the factor so far, and adds its own", {
        20: "the factors multiply, they do not add",
        2: "that is after one layer; the next one doubles it again",
        512: "there are ten layers, each with its own factor of 2",
        2**20: "that is the mean square; the signal's size is its root"}),
    "gradient_behind_norm": number(0.5, 0.01, "the output is the same at w and at 2 w", {
        1: "the output stays the same, but reached from weights twice as far out",
        2: "without batch norm a first layer's gradient would grow; here the output cannot",
        0.25: "that is the step relative to the weight; the gradient alone?",
        0: "the output ignores the weights' scale, not their direction"}),
    "lsuv": lsuv,
}
