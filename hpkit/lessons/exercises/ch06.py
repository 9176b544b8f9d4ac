"""The checks behind chapter 06; see `checks`."""

from collections.abc import Callable

from hpkit.lessons.exercises.checks import number, of_a_function

# Chains of (window, stride); the last is L2-Net.
CHAINS = (
    [],
    [(3, 1)],
    [(3, 1), (3, 1)],
    [(3, 1), (2, 2), (3, 1)],
    [(7, 2), (3, 2), (3, 1)],
    [(3, 1), (3, 1), (3, 2), (3, 1), (3, 2), (3, 1), (8, 1)],
)


def width(layers: list[tuple[int, int]]) -> int:
    """Input pixels, along one row, that one output pixel of a chain depends on."""
    wide = 1
    for window, stride in reversed(layers):
        wide = (wide - 1) * stride + window
    return wide


@of_a_function("receptive_field(layers)")
def receptive_field(answer: Callable) -> str:
    """Must give the width of the view for several chains of (window, stride)."""
    for layers in CHAINS:
        expected, mine = width(layers), float(answer(list(layers)))
        if mine == expected:
            continue
        known = {
            1
            + sum(
                k - 1 for k, _ in layers
            ): "the strides are missing: windows of a later "
            "layer are further apart in the input",
            width(layers[::-1]): "walk from the "
            "output to the input: start with the last layer",
        }
        return f"for {layers} it is {mine:g}, expected {expected}" + (
            f": {known[mine]}" if mine in known else ""
        )
    return ""


EXERCISES: dict[str, Callable[[object], str]] = {
    "pooled_view": number(
        8,
        0,
        "3 pixels of the last layer, 2 each of the pooling's, and then?",
        {
            5: "that is without the pooling: each of the 3 pixels is the largest of 2",
            6: "that is before the first convolution, which sees one pixel more on "
            "either side",
            7: "each of the 3 pixels is the largest of 2, so there are 6, and one "
            "more on either side",
            9: "pooling has windows of 2, not of 3",
        },
    ),
    "wider_view": number(
        22,
        0,
        "set conv3 to (5, 1, 2), then last - first + 1 of view(4, 16)",
        {
            12: "that is the view of the 3 x 3 windows",
            24: "that is the view of pixel 15: odd pixels see further",
            21: "the width counts both ends: last - first + 1",
        },
    ),
    "receptive_field": receptive_field,
}
