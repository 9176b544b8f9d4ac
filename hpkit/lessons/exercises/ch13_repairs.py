"""The checks behind chapter 13, the clinic: whether a repair works; see `ch13`.

A patient's code is judged by what it does: its batches are drawn, its loss is taken,
and its network looks at a few patches.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hpkit.data.patches import PatchSet, photo_of
from hpkit.data.sets import load
from hpkit.lessons.exercises.checks import Check, of_a_function


def small() -> tuple[PatchSet, PatchSet]:
    """A few training and validation points.

    They judge no loss that a fault leaves alone.
    """
    data = load("photos", points=6)
    return data.train.select(data.train.names[:6]), data.validation


def prescribed(check: Callable[[dict], str]) -> Check:
    """A check of what a function of (train, validation) gives: arguments of `fit`."""

    def run(answer: Callable) -> str:
        made = answer(*small())
        missing = {"model", "train", "epochs"} - set(made)
        if missing:
            return f"it returns no {missing.pop()!r}: see `healthy`"
        return check(made)

    return run


def learns(made: dict) -> str:
    """Must be better than the best constant grey after three short epochs."""
    from hpkit.training.fit import TrainingDiverged, fit

    clean = made["validation"].patches["clean"].astype(float)
    grey = np.abs(clean - np.median(clean)).mean()
    try:
        *_, last = fit(**made | {"epochs": 3})
    except TrainingDiverged as error:
        return str(error)
    if last.val_loss < 0.8 * grey:
        return ""
    return (
        f"after three short epochs its error is {last.val_loss:.1f} grey levels, and "
        f"one flat grey has {grey:.1f}"
    )


def alive(made: dict) -> str:
    """The first layer must answer to patches, and so must the output.

    The network must also learn.
    """
    import torch

    noisy = torch.from_numpy(made["train"].patches["noisy"][:, 0]).float()[:, None]
    network = made["model"].eval()
    first = next(
        layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)
    )
    seen = []
    hook = first.register_forward_hook(
        lambda _, __, out: seen.append((out > 0).float().mean())
    )
    with torch.no_grad():
        contrast = float(network(noisy).std((1, 2, 3)).mean())
    hook.remove()
    if seen[0] == 0:
        return "still no unit of the first layer is above 0, for any patch"
    if contrast < 1:
        return (
            f"the first layer is alive ({seen[0]:.0%} of it), but the output is flat: "
            "are the other layers?"
        )
    wrong = learns(made)
    return (
        wrong and f"it is alive, with an output of contrast {contrast:.3g}, but {wrong}"
    )


def summed(made: dict) -> str:
    """Must be the triplet loss of unit vectors, by the sum of squares or the distance.

    What comes to the same as the sum is right too: its mean, with the margin 128 times
    smaller and lr 128 times larger.
    """
    import torch

    from hpkit.training.losses import triplet_loss

    a, p, n = torch.nn.functional.normalize(
        torch.randn(3, 200, 128, generator=torch.Generator().manual_seed(0)), dim=2
    )
    p = torch.nn.functional.normalize(a + p, dim=1)
    mine = float(made["loss"](a, p, n))
    kinds = ("sum", "root", "mean")
    value = {kind: float(triplet_loss(a, p, n, 1.0, kind)) for kind in kinds}
    if min(abs(mine - value["sum"]), abs(mine - value["root"])) < 1e-4:
        return ""
    if abs(mine - value["mean"]) < 1e-4:
        return (
            "this is still the mean: between unit vectors it is at most 4/128, and 1 "
            "is asked"
        )
    if abs(mine - value["sum"] / 128) < 1e-4:
        rate = made.get("lr") or 0.0
        wrong_rate = (
            "the margin fits the mean now, the learning rate does not: the sum has "
            f"0.1, the mean needs 128 times that, and here it is {rate:g}"
        )
        return "" if np.isclose(rate, 12.8) else wrong_rate
    expected = f"expected {value['sum']:.4f} with the margin of 1"
    return f"on 200 triplets it is {mine:.4f}, {expected}"


def angular(made: dict) -> str:
    """The loss of the network's outputs must be that of their directions."""
    import torch
    from torch.nn.functional import normalize

    patches = torch.from_numpy(made["train"].patches["clean"]).float()
    with torch.no_grad():
        a, p, n = (made["model"].eval()(patches[:, c, None]) for c in (0, 12, 5))
        n = n.roll(1, 0)
        mine = float(made["loss"](a, p, n))

        def expected(x, y, z):
            return float((0.5 - (x * y).sum(1) + (x * z).sum(1)).clamp(0).mean())

        unit = [normalize(x, dim=1) for x in (a, p, n)]
        if abs(mine - expected(*unit)) < 1e-3:
            return ""
        if (
            abs(mine - expected(unit[0], p, n)) < 1e-3
            or abs(mine - expected(a, *unit[1:])) < 1e-3
        ):
            return "an angle needs both vectors at length 1"
    return (
        f"on a few patches it is {mine:.3f}, and {expected(*unit):.3f} for their "
        "directions: length still counts"
    )


def shuffled(made: dict) -> str:
    """Must give each patch once an epoch, in an order that changes."""
    import torch

    draws = [
        made["train"].draw(torch.Generator().manual_seed(s), 50).numpy()
        for s in (1, 1, 2)
    ]
    count = len(made["train"].patches) * 16
    if not np.array_equal(draws[0], draws[1]):
        return "the same generator has to give the same order: pass generator=generator"
    if not np.array_equal(np.sort(draws[0]), np.arange(count)):
        return (
            f"in an epoch each of the {count} patches comes once: here some are "
            "missing or twice"
        )
    if np.array_equal(draws[0], draws[2]):
        return "every epoch has the same order: draw it anew, from the generator"
    return ""


def same_rows(made: dict) -> str:
    """Anchor and positive must be two columns of one row.

    The negative must nearly always be of another row.
    """
    import torch

    few = replace(made["train"], samples=len(made["train"]))
    anchor, positive, negative = (
        few.draw(torch.Generator().manual_seed(1), 50).numpy().T
    )
    wrong = np.mean(anchor // 16 != positive // 16)
    if max(anchor.max(), positive.max(), negative.max()) >= 16 * len(few.patches):
        return "patch numbers run beyond the last patch"
    if wrong:
        return (
            f"{wrong:.0%} of the positives are still of another row: how many "
            "columns has one?"
        )
    if (anchor == positive).any():
        return "some anchors are their own positive"
    if np.mean(anchor // 16 == negative // 16) > 0.2:
        return "now the negatives are of the anchor's row, too"
    return ""


def own_noise(made: dict) -> str:
    """Anchor and positive must get noise of the same strength, each its own."""
    import torch

    grey = torch.full((64, 1, 32, 32), 128, dtype=torch.uint8)
    torch.manual_seed(0)
    noise = [
        x.numpy().ravel() - 128
        for x in made["train"].ready((grey,), torch.arange(60).reshape(20, 3))
    ]
    if min(x.std() for x in noise) < 15:
        return "now there are patches without noise: the field has it in all of them"
    r = np.corrcoef(noise)
    if abs(r[0, 1]) > 0.1:
        return (
            f"the noise of anchor and positive still agrees (correlation {r[0, 1]:.2f})"
        )
    if max(abs(r[0, 2]), abs(r[1, 2])) > 0.1:
        return (
            "now the negative shares its noise with one of the pair: a cue again, "
            "a wrong one"
        )
    return ""


def apart(made: dict) -> str:
    """Must still tell patches apart after four short epochs."""
    from hpkit.evaluation.describe import describe
    from hpkit.training.fit import TrainingDiverged, fit
    from hpkit.training.losses import hardest_loss

    if made["train"].natural_loss is not hardest_loss:
        return "it no longer asks for the hardest negatives: keep the question"
    data = load("photos", points=6)
    made["train"] = replace(made["train"], patches=data.train)
    made["validation"] = replace(
        made["validation"], patches=data.validation, samples=24
    )
    try:
        for _ in fit(**made | {"epochs": 4}):
            pass
    except TrainingDiverged as error:
        return str(error)
    found = describe(made["model"], data.validation["clean"])[:, 0]
    spread = np.linalg.norm(found - found.mean(0), axis=1).mean()
    length = np.linalg.norm(found, axis=1).mean()
    if spread > 1e-3 * length:
        return ""
    return (
        f"after four short epochs the descriptors have the length {length:.3g} and "
        f"are {spread:.2g} apart: they are still all alike"
    )


def nearest_right(descriptors: np.ndarray, sequence: np.ndarray) -> float:
    """The share of reference patches whose nearest tough patch is their own.

    Only patches of their own sequence are looked at.
    """
    shares = []
    for number in np.unique(sequence):
        some = descriptors[sequence == number].astype(float)
        for column in range(11, 16):
            squares = ((some[:, None, 0] - some[None, :, column]) ** 2).sum(2)
            shares.append(np.mean(squares.argmin(1) == np.arange(len(some))))
    return float(np.mean(shares))


def honest_score(answer: Callable) -> str:
    """Must be the score of test patches, whatever describes them."""
    from hpkit.evaluation.baselines import raw_pixels
    from hpkit.evaluation.describe import describe

    data = load("photos", points=6)
    mine = float(answer(raw_pixels, data)[1])
    scores = {
        side: nearest_right(
            describe(raw_pixels, getattr(data, side)["clean"]),
            getattr(data, side).sequence,
        )
        for side in ("test", "validation", "train")
    }
    hints = {
        "train": "this is still the score on the training patches",
        "validation": "honest, if you chose nothing by them; report the test patches",
    }
    for side, score in scores.items():
        if abs(mine - score) < 1e-6:
            return hints.get(side, "")
    return (
        f"raw pixels get {mine:.3f}, expected {scores['test']:.3f} on the clean "
        "test patches"
    )


def disjoint(answer: Callable[[PatchSet], tuple]) -> str:
    """Must leave no photo on both sides, no side empty, and no photo lost."""
    patches = load("photos", points=1).train
    train, test = ({photo_of(name) for name in side.names} for side in answer(patches))
    everything = {photo_of(name) for name in patches.names}
    if both := sorted(train & test):
        return f"{both[0]} is still on both sides"
    if not train or not test:
        return "one side has no photo left"
    if lost := sorted(everything - train - test):
        return f"{lost[0]} is on no side now: no photo need be lost"
    return ""


def steady(answer: Callable) -> str:
    """Must give the descriptors of a network in eval mode, whatever is in the batch."""
    from hpkit.evaluation.describe import describe
    from hpkit.networks.l2net import L2Net

    patches = load("photos", points=2).validation["clean"]
    network = L2Net(seed=0, half=True)
    expected = describe(network, patches, device="cpu", precision="float32")
    first, again, few = (
        np.asarray(answer(network.train(), patches, size)) for size in (50, 50, 8)
    )
    if first.shape != expected.shape:
        return f"descriptors have the shape {first.shape}, expected {expected.shape}"
    if np.allclose(first, expected, atol=1e-3) and np.allclose(
        few, expected, atol=1e-3
    ):
        return ""
    if not np.allclose(first, again, atol=1e-3):
        return (
            "one patch still has two descriptors: dropout is on (no_grad does not "
            "turn it off)"
        )
    if not np.allclose(first, few, atol=1e-3):
        return (
            "dropout is off, but batch norm still looks at the batch: switch all layers"
        )
    return "the descriptors are steady, but not those of the network in eval mode"


def to_scale(answer: Callable) -> str:
    """Must give the network the grey levels that it was trained on."""
    from hpkit.evaluation.describe import describe
    from hpkit.networks.l2net import L2Net

    patches = load("photos", points=2).validation["clean"]
    network = L2Net(seed=0, half=True)
    expected = describe(network, patches, device="cpu", precision="float32")
    found = np.asarray(answer(network, patches))
    if found.shape != expected.shape:
        return f"descriptors have the shape {found.shape}, expected {expected.shape}"
    size = np.abs(expected).max()
    if np.allclose(found, expected, atol=1e-3 * size):
        return ""
    spread, right = found.std(0).mean(), expected.std(0).mean()
    if spread < 0.1 * right:
        return (
            f"the descriptors differ by {spread:.2g}, expected {right:.2g}: the "
            "network knows grey levels from 0 to 255"
        )
    return "these are not the descriptors of the network on the patches as they are"


OF_TRAINING = (learns, alive, summed, angular, shuffled, same_rows, own_noise)
CHECKS = [
    *map(prescribed, OF_TRAINING),
    honest_score,
    disjoint,
    steady,
    prescribed(apart),
    to_scale,
]
REPAIRS: dict[str, Check] = {
    f"repair_{number}": of_a_function(f"patient_{number}", told="repair")(check)
    for number, check in enumerate(CHECKS, 1)
}
