"""Making the recorded results, which the book's figures and verdicts rest on."""

from pathlib import Path

import pandas as pd

from hpkit.files import repository_folder, write_whole


def results_folder() -> Path:
    """`notebooks/results`; ValueError where hpkit is installed without it."""
    return repository_folder() / "notebooks" / "results"


def write_table(path: Path, table: pd.DataFrame, **options: object) -> None:
    """Write a CSV file that is whole at any moment; options are those of `to_csv`."""
    text = table.to_csv(index=False, lineterminator="\n", **options)
    write_whole(path, text.encode())
