"""hpkit teaches how machines learn to see when two photos show the same thing."""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """`hpkit.pretrained`, imported (and torch with it) only when it is asked for."""
    if name == "pretrained":
        from hpkit.shipped import pretrained

        return pretrained
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
