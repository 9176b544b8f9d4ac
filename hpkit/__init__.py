"""hpkit teaches how machines learn to see when two photos show the same thing."""

from importlib import import_module

__version__ = "0.2.0"

# What most programs need, imported (and torch with it) only when it is asked for.
FACE = {
    "load": "hpkit.data.sets",
    "describe": "hpkit.evaluation.describe",
    "denoise": "hpkit.evaluation.describe",
    "evaluate": "hpkit.evaluation.scores",
    "fit": "hpkit.training.fit",
    "run": "hpkit.experiments.runs",
    "ablate": "hpkit.experiments.runs",
    "pretrained": "hpkit.networks.pretrained",
    "match_photos": "hpkit.matching.photos",
}


def __getattr__(name: str) -> object:
    if name in FACE:
        return getattr(import_module(FACE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *FACE])
