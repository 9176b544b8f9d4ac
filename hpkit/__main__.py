"""`hpkit`, or `python -m hpkit`: one command, with a subcommand for each task."""

import sys
from importlib import import_module
from keyword import iskeyword

from hpkit import __version__

COMMANDS = {  # in the order in which they are shown
    "match": "find the same points in two photos, and say whether they match",
    "book": "run the notebooks without a browser, and make their site",
    "site": "make the site of the notebooks as they are",
    "download": "fetch HPatches, or its official task files",
    "export": "write a shipped network as an ONNX file, for use without Python",
    "evaluate": "score descriptor files as the official benchmark does",
    "class": "pack the notebooks for students: no solutions, no outputs",
    "marks": "run what students hand in, and tell who solved what",
    "leaderboard": "score the descriptors that students hand in",
    "slides": "make slides of a chapter's figures and answers",
    "colab": "pack the notebooks for Colab, or renew their badges",
    "clean": "delete what hpkit keeps, and nothing else",
    "record": "make the recorded results of the repository anew",
}


def usage() -> str:
    """What `hpkit --help` says."""
    lines = [f"  {name:11} {about}" for name, about in COMMANDS.items()]
    return "\n".join(
        [
            "hpkit: how machines learn to see when two photos show the same thing",
            "",
            "usage: hpkit COMMAND ...",
            "",
            *lines,
            "",
            "hpkit COMMAND --help tells more of one, with an example.",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """The exit status; 2, with one sentence, where the request makes no sense."""
    for stream in (sys.stdout, sys.stderr):  # a terminal may have no sign for ✓
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name == "--version":
        print(__version__)
        return 0
    if name not in COMMANDS:
        expected = ", ".join(COMMANDS)
        print(
            f"hpkit: no command {name!r}, expected one of {expected}", file=sys.stderr
        )
        return 2
    # A module cannot be called `class`, which is a word of Python's.
    module = f"{name}_" if iskeyword(name) else name
    command = import_module(f"hpkit.commands.{module}")
    try:
        return command.main(rest)
    except (ValueError, OSError) as error:
        print(f"hpkit {name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nhpkit {name}: stopped", file=sys.stderr)
        return 130
    except SystemExit as ended:  # of argparse, once it has shown the help
        return ended.code


if __name__ == "__main__":
    sys.exit(main())
