"""The coursework's claims as contrasts between recorded runs.

They were committed before those runs were made. An effect matters from 0.1 grey levels
of test MAE and 0.005 of mAP on. Where no task is named, matching decides, the hardest
one.
"""

from dataclasses import replace
from functools import partial

from hpkit.experiments.arms import Claim, Contrast
from hpkit.experiments.configs import DenoiserConfig, DescriptorConfig

DENOISER, DESCRIPTOR = DenoiserConfig(), DescriptorConfig()  # the baselines, at scale 1
WOBBLING = replace(DENOISER, averaged=0.2)  # trained once, scored in two ways

TASKS = ("verification", "matching", "retrieval")

# Those with a row in the coursework's tables.
ADAPTIVE = ("rmsprop", "adamax", "adam", "nadam")

SINGLE = {  # the changes that the final model unites, each alone
    "Adamax": {"optimizer": "adamax"},
    "Xavier uniform": {"init": "xavier_uniform"},
    "denoiser with Nadam": {"denoiser_optimizer": "nadam"},
    "denoiser of depth 8": {"denoiser_depth": 8},
    "denoiser from LeCun uniform": {"denoiser_init": "lecun_uniform"},
    "denoiser with batches of 32": {"denoiser_batch_size": 32},
}

FINAL = {name: value for change in SINGLE.values() for name, value in change.items()}

# What the coursework's recipe lacks. Between unit vectors a mean over 128 dimensions
# is nearly the same for all pairs, so the distance is Euclidean.
UNIT = {"unit": True, "reduce": "root"}

HARD = {"objective": "hardest"}

NORMAL = {  # all that HardNet normalises besides the length
    "standardize": True,
    "affine": False,
    "final_norm": True,
    "norm_momentum": 0.1,
}

mae = partial(Contrast, base=DENOISER, score="test_mae", smallest=0.1)

mAP = partial(Contrast, base=DESCRIPTOR, score="matching", smallest=0.005)


def _inits(score: str, best: str, *others: str) -> list[Contrast]:
    name = {"loss": "training error", "test_mae": "test error"}[score]
    return [
        mae(
            f"{name}: {best} below {other}",
            a={"init": best},
            b={"init": other},
            score=score,
        )
        for other in others
    ]


def _small(a: str, b: str) -> list[Contrast]:
    """Two contrasts that hold together only where two arms differ by less than 0.02."""
    return [
        mAP(f"{x} at most 0.02 below {y}", a={"init": x}, b={"init": y}, smallest=-0.02)
        for x, y in ((a, b), (b, a))
    ]


CLAIMS: dict[str, Claim] = {
    "C1": Claim(
        "C1",
        "The baseline U-Net's error stays large because it sees only 3 sequences; "
        "neither baseline overfits",
        "one run: MAE 5.40, validation 7.83",
        "10_final_model",
        (
            mae("all sequences over 3", a={"sequences": None}, smallest=0.5),
            mae(
                "U-Net: validation error at most 0.5 above training",
                score="val_loss",
                score_b="loss",
                smallest=-0.5,
            ),
            mAP(
                "L2-Net: validation loss at most 0.1 above training",
                score="val_loss",
                score_b="loss",
                smallest=-0.1,
            ),
        ),
    ),
    "C2": Claim(
        "C2",
        "Verification is easiest, matching hardest",
        "0.787 > 0.489 > 0.191",
        "10_final_model",
        (
            mAP(
                "verification above retrieval",
                score="verification",
                score_b="retrieval",
            ),
            mAP("retrieval above matching", score="retrieval", score_b="matching"),
        ),
    ),
    "C3": Claim(
        "C3",
        "U-Net: every adaptive optimizer beats Nesterov SGD, and Nadam is best",
        "validation MAE 3.92 (Nadam) to 7.83 (SGD)",
        "05_optimizers",
        (
            *(mae(f"{name} over sgd", a={"optimizer": name}) for name in ADAPTIVE),
            *(
                mae(
                    f"nadam over {name}",
                    a={"optimizer": "nadam"},
                    b={"optimizer": name},
                )
                for name in ADAPTIVE[:-1]
            ),
        ),
    ),
    "C4a": Claim(
        "C4a",
        "L2-Net, default rates: Adamax is best, Adam and Nadam fall behind SGD",
        "matching 0.213, 0.138, 0.126, 0.191",
        "05_optimizers",
        (
            *(
                mAP(
                    f"adamax over {name}",
                    a={"optimizer": "adamax"},
                    b={"optimizer": name},
                )
                for name in ("sgd", "rmsprop", "adam", "nadam")
            ),
            *(
                mAP(f"sgd over {name}", b={"optimizer": name})
                for name in ("adam", "nadam")
            ),
        ),
    ),
    "C4b": Claim(
        "C4b",
        "Adam and Nadam fall behind because their default rates are small; tuned, they "
        "catch up",
        "our reading of C4a",
        "05_optimizers",
        (
            *(
                mAP(
                    f"{name}: a three times larger rate helps",
                    a={"optimizer": name, "lr": 3 * lr},
                    b={"optimizer": name},
                )
                for name, lr in (("adam", 0.001), ("nadam", 0.002))
            ),
            *(
                mAP(
                    f"tuned {name} not behind tuned sgd",
                    a={"optimizer": name, "lr": "best"},
                    b={"lr": "best"},
                    smallest=-0.005,
                )
                for name in ("adam", "nadam")
            ),
        ),
    ),
    "C5": Claim(
        "C5",
        "A deeper U-Net denoises better: depth 8 than 6, and 6 than 4",
        "validation MAE 4.95, 5.10, 7.83",
        "06_depth",
        (
            mae("depth 6 over 4", a={"depth": 6}),
            mae("depth 8 over 6", a={"depth": 8}, b={"depth": 6}),
        ),
    ),
    "C6": Claim(
        "C6",
        "U-Net: He normal fits best and validates worst; LeCun uniform validates best",
        "training 5.52, validation 7.95; LeCun 4.45",
        "07_initializers",
        (
            *_inits(
                "loss", "he_normal", "lecun_uniform", "xavier_normal", "orthogonal"
            ),
            *_inits("test_mae", "xavier_normal", "he_normal"),
            *_inits("test_mae", "orthogonal", "he_normal"),
            *_inits(
                "test_mae",
                "lecun_uniform",
                "he_normal",
                "xavier_normal",
                "orthogonal",
            ),
        ),
    ),
    "C7": Claim(
        "C7",
        "L2-Net: Xavier normal is the best start; the differences are small",
        "matching 0.198 against 0.190 to 0.191",
        "07_initializers",
        (
            *(
                mAP(
                    f"xavier_normal over {name}",
                    a={"init": "xavier_normal"},
                    b={"init": name},
                )
                for name in ("he_normal", "lecun_uniform", "orthogonal")
            ),
            *_small("lecun_uniform", "he_normal"),
            *_small("orthogonal", "he_normal"),
        ),
    ),
    "C8": Claim(
        "C8",
        "A smaller batch is better at a fixed number of epochs",
        "validation MAE 4.72 (32) to 10.21 (2048); 7.95 (50)",
        "08_batch_size",
        tuple(
            mae(
                f"{small} over {large}",
                a={"batch_size": small},
                b={"batch_size": large},
            )
            for small, large in ((32, 50), (50, 128), (128, 512), (512, 2048))
        ),
    ),
    "C9": Claim(
        "C9",
        "Training L2-Net on denoised patches beats training it on clean ones",
        "matching 0.245 against 0.200",
        "09_clean_vs_denoised",
        tuple(
            mAP(f"{task}: denoised over clean", b={"source": "clean"}, score=task)
            for task in TASKS
        ),
    ),
    "C10": Claim(
        "C10",
        "The gains add up: the final model beats every single change",
        "matching 0.250 against at most 0.245",
        "10_final_model",
        (
            mAP("final over the baseline", a=FINAL),
            *(
                mAP(f"final over {name}", a=FINAL, b=change)
                for name, change in SINGLE.items()
            ),
        ),
    ),
    "C11": Claim(
        "C11",
        "L2-Net: LeCun uniform and orthogonal surpass He normal in the evaluation "
        "tasks",
        "3 of 6 cells of its table",
        "07_initializers",
        tuple(
            mAP(f"{task}: {name} over he_normal", a={"init": name}, score=task)
            for name in ("lecun_uniform", "orthogonal")
            for task in TASKS
        ),
    ),
    "C12": Claim(
        "C12",
        "Nadam would win for deeper U-Nets on the whole data set with 500 epochs",
        "a prediction",
        "10_final_model",
        tuple(
            replace(
                mae(
                    f"depth 8, all sequences: nadam over {name}",
                    a={"optimizer": "nadam"},
                    b={"optimizer": name},
                ),
                base=replace(DENOISER, depth=8, sequences=None),
            )
            for name in ("sgd", "rmsprop", "adamax", "adam")
        ),
    ),
}

# --- what is asked of fresh seeds ----------------------------------------------------

# After the first look, and before any row of the runs that answer. Seeds 100 and up are
# looked at 8, 16 and 32 at a time. 0.25 grey levels of test MAE and 0.01 of matching
# mAP are the smallest effects that matter. Each question is put to both weights: is an
# arm worse, or only its last step?
WEIGHTS = {"last step": "", "averaged": "_averaged"}
SEEDS = range(100, 108)  # the first look


def by_weights(contrast: Contrast, weights: str) -> Contrast:
    """The same question, put to the scores of "last step" or "averaged" weights."""
    return replace(contrast, score=contrast.score + WEIGHTS[weights])


def first_look(contrast: Contrast) -> Contrast:
    """The same question, put to the runs of the first look, not averaged."""
    return replace(contrast, base=replace(contrast.base, averaged=0))


denoises = partial(Contrast, base=WOBBLING, score="test_mae", smallest=0.25)

matches = partial(
    Contrast, base=replace(DESCRIPTOR, averaged=0.2), score="matching", smallest=0.01
)


def _between(
    ask: partial, name: str, *pairs: tuple[object, object], label: str = "{}"
) -> tuple[Contrast, ...]:
    """A question per pair of values of one field."""
    return tuple(
        ask(f"{label.format(a)} over {label.format(b)}", a={name: a}, b={name: b})
        for a, b in pairs
    )


def _sized(size: int) -> dict[str, int]:
    """A batch size with the samples that make 12 updates an epoch of it."""
    return {"batch_size": size, "samples": 12 * size}


QUESTIONS: dict[str, tuple[Contrast, ...]] = {
    "optimizers": _between(
        denoises,
        "optimizer",
        ("adam", "sgd"),
        ("adamax", "sgd"),
        ("nadam", "sgd"),
        ("rmsprop", "sgd"),
        ("nadam", "adam"),
        ("nadam", "adamax"),
        ("nadam", "rmsprop"),
    ),
    "depth": _between(denoises, "depth", (8, 4), label="depth {}"),
    "culprit": (
        matches("hardest negatives over random ones", a=HARD),
        matches("length 1 over none", a=UNIT),
        matches("length 1 and hardest over neither", a=UNIT | HARD),
        matches("length 1 and hardest over hardest", a=UNIT | HARD, b=HARD),
        matches("length 1 and hardest over length 1", a=UNIT | HARD, b=UNIT),
    ),
    # Asked after the culprit's answer, and before any row of these.
    "normalisation": (
        matches("all three over the baseline", a=NORMAL | UNIT | HARD),
        matches(
            "all three over length 1 and hardest", a=NORMAL | UNIT | HARD, b=UNIT | HARD
        ),
        matches("normalised over not", a=NORMAL),
    ),
    # Asked after the answers to both, and before any row of these.
    "free length": (
        matches("normalised and hardest over normalised", a=NORMAL | HARD, b=NORMAL),
        matches(
            "all three over normalised and hardest",
            a=NORMAL | UNIT | HARD,
            b=NORMAL | HARD,
        ),
    ),
    "source": (
        matches("denoised over clean", b={"source": "clean"}),
        matches(
            "denoised over noisy",
            b={"source": "noisy", "test_source": "noisy"},
        ),
    ),
    "sequences": (denoises("all sequences over 3", a={"sequences": None}),),
    "batch size": (
        *_between(denoises, "batch_size", (32, 50), (50, 512), label="a batch of {}"),
        denoises("at 60 updates: a batch of 50 over 512", a=_sized(50), b=_sized(512)),
    ),
    "initializers": _between(
        denoises,
        "init",
        ("lecun_uniform", "he_normal"),
        ("orthogonal", "he_normal"),
        ("xavier_normal", "he_normal"),
        ("lecun_uniform", "orthogonal"),
    ),
    "final model": (
        matches("final over the baseline", a=FINAL),
        *(
            matches(f"{name} over the baseline", a=change)
            for name, change in SINGLE.items()
        ),
    ),
    "descriptor optimizers": _between(
        matches, "optimizer", ("adamax", "sgd"), ("sgd", "adam"), ("sgd", "nadam")
    ),
    # Asked last, once those on optimizers were answered, and before any row of these.
    "descriptor initializers": _between(
        matches,
        "init",
        ("xavier_normal", "he_normal"),
        ("lecun_uniform", "he_normal"),
        ("orthogonal", "he_normal"),
    ),
    "deep optimizers": _between(
        partial(denoises, base=replace(WOBBLING, depth=8, sequences=None)),
        "optimizer",
        *(("nadam", rival) for rival in ("sgd", "rmsprop", "adamax", "adam")),
        label="deep {}",
    ),
}
