"""What the coursework proposed, and what came after it, as arms; and our best recipe.

Each arm is a change of the coursework's final model, trained as long as that model
(scale 1). The changes of its denoiser count twice: by the denoiser's own error, and by
what the descriptor makes of its patches.
"""

from dataclasses import replace

from hpkit.experiments.claims import DENOISER, DESCRIPTOR, FINAL, NORMAL, UNIT
from hpkit.experiments.configs import DenoiserConfig, DescriptorConfig, varied

MODEL = varied(DESCRIPTOR, **FINAL)  # the coursework's final model ...

ITS_DENOISER = replace(  # ... and the denoiser in it
    DENOISER,
    **{
        name.removeprefix("denoiser_"): value
        for name, value in FINAL.items()
        if name.startswith("denoiser_")
    },
)

OWN = {"test_source": "noisy"}  # where the network itself copes with the noise

DENOISING = {  # changes of ITS_DENOISER
    "mean squared error": {"objective": "mse"},
    "Charbonnier loss": {"objective": "charbonnier"},
    "structural similarity": {"objective": "ssim"},
    "predicts the noise": {"residual": True},
    "U-Net of depth 4": {"depth": 4},
    "framing U-Net": {"network": "framing", "depth": 4},
    "U-Net++": {"network": "unet++", "depth": 4},
}

DESCRIBING = {  # changes of MODEL
    "loss": {
        "Euclidean distance": {"reduce": "root"},
        "anchor swap": {"objective": "anchor_swap"},
        "hardest in batches of 25": {"objective": "hardest", "batch_size": 25},
        "hardest in batches of 50": {"objective": "hardest"},
        "hardest in batches of 150": {"objective": "hardest", "batch_size": 150},
        "hardest, also same side": {"objective": "hardest_all"},
        "hardest + second order": {"objective": "hardest_sos"},
    },
    "loss, unit length": {  # the same, as their authors have them: on the sphere
        "random negatives": UNIT,
        "anchor swap": {"objective": "anchor_swap", **UNIT},
        "hardest in batches of 50": {"objective": "hardest", **UNIT},
        "hardest, also same side": {"objective": "hardest_all", **UNIT},
        "hardest + second order": {"objective": "hardest_sos", **UNIT},
    },
    "network": {
        "standardised input": {"standardize": True},
        "batch norm without scale": {"affine": False},
        "faster running statistics": {"norm_momentum": 0.1},
        "final batch norm": {"final_norm": True},
        "unit length": {"unit": True},
        "space to depth": {"half": True},
    },
    "training": {
        "flips and turns": {"augment": "flips"},
        "warm-up": {"schedule": "warmup"},
        "decay": {"schedule": "decay"},
        "noisy and clean, no denoiser": {"source": "mixed", **OWN},
        "trained jointly": {"network": "joint", "source": "noisy", **OWN},
    },
}


def ladder() -> dict[str, DescriptorConfig]:
    """From the coursework's baseline to the best recipe.

    Each step comes on top of those before it.
    """
    steps = {
        "coursework: baseline": {},
        "coursework: final model": FINAL,
        "noisy and clean, no denoiser": {"source": "mixed", **OWN},
        "all normalised": {**NORMAL, **UNIT},
        "hardest negatives": {"objective": "hardest_all", "batch_size": 100},
        "AdamW, warm-up, decay": {
            "optimizer": "adamw",
            "lr": 0.01,
            "schedule": "warmup_decay",
            "dropout": 0.0,
        },
        "space to depth": {"half": True},
        "flips, turns, inversion": {"augment": "flips_invert"},
        "scenes, all points": {"data": "scenes", "points": None},
        "batches from 4 photos": {"batch_photos": 4},
    }
    made, found = DESCRIPTOR, {}
    for name, changes in steps.items():
        found[name] = made = varied(made, **changes)
    return found | {f"best recipe, {name}": best for name, best in BUDGETS.items()}


# The best recipe, chosen on the validation photos: one network for clean and noisy
# patches.
BEST = DescriptorConfig(
    data="scenes",
    folds=0,
    points=None,
    source="mixed",
    **OWN,
    augment="flips_invert",
    objective="hardest_all",
    **UNIT,
    **NORMAL,
    batch_size=256,
    dropout=0.0,
    half=True,
    init="orthogonal",
    optimizer="adamw",
    lr=0.01,
    schedule="warmup_decay",
    samples=25_600,
    validation_samples=2_560,
    batch_photos=4,
    epochs=19,
)

BUDGETS = {"a tenth of it": replace(BEST, epochs=2), "all of it": BEST}

# A tenth of the best recipe, whole, and without one of its parts at a time. Two arms
# lose more: random negatives come from all photos, so batch_photos is idle with them,
# and patches with their own noise are never clean. Space to depth has no arm: it is
# there for speed, and the ladder has it alone.
TENTH = replace(BUDGETS["a tenth of it"], averaged=0.2)
WITHOUT = {
    "hardest negatives": {"objective": "triplet"},  # random ones instead
    "unit length": {"unit": False},
    "the other normalisations": {
        name: getattr(DescriptorConfig, name) for name in NORMAL
    },
    "noise drawn anew": {"source": "noisy"},  # each patch's own, always
    "AdamW, warm-up, decay": {"optimizer": "sgd", "schedule": "constant", "lr": None},
    "flips, turns, inversion": {"augment": "none"},
    "scenes": {"data": "photos"},
    "batches from 4 photos": {"batch_photos": None},
    "orthogonal start": {"init": "he_normal"},
}

# A denoiser to go with it: a few minutes, all training photos.
BEST_DENOISER = DenoiserConfig(
    data="scenes",
    folds=0,
    sequences=None,
    residual=True,
    batch_size=32,
    optimizer="adamw",
    lr=0.002,
    schedule="warmup_decay",
    samples=8_000,
    validation_samples=2_000,
    epochs=5,
)
