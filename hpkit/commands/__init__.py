"""The subcommands of `hpkit`, a module each: `main(arguments)` gives the exit status.

A mistake in a request ends in a ValueError or OSError, of which `hpkit` makes one
sentence. The module's docstring is the text of its `--help`.
"""

import argparse
import inspect
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser that raises a ValueError for a command line it does not understand."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see `{self.prog} --help`)")


def parser(docstring: str) -> Parser:
    """A parser for a subcommand that shows the docstring of its module as help."""
    summary, _, rest = inspect.cleandoc(docstring).partition("\n\n")
    name, _, about = " ".join(summary.split()).partition(": ")
    return Parser(
        prog=name.strip("`"),
        description=about,
        epilog=rest.strip("\n"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
