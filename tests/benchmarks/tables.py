"""The tables of speed, here and on a GPU, from the figures in `measured`.

They are put into notebooks/pages/speed.md, what a server for a class needs into teaching.md, and
the chapters' seconds into README.md.

python tests/benchmarks/tables.py

Ratios are medians over rounds in which both sides ran in turn; in brackets the least and the most.
"""

import json
import math
import re
import sys

from measure import HERE

sys.path.insert(0, str(HERE.parent / "helpers"))
import readme

COLUMNS = ["", "hpkit", "beside it", "ratio"]
SIDE = "Keras, float32"
CLASS = 30  # students
QUIET = 1.0  # load average up to which seconds are worth something


def measured(script: str) -> dict[str, dict]:
    """What a script wrote: "machine", and "tables", the rows of each by its title."""
    return json.loads((HERE / "measured" / f"{script}.json").read_text())


def figures(script: str) -> dict[str, dict[str, dict]]:
    """Title of a table -> its rows, by what stands in their first column."""
    return {title: {next(iter(row.values())): row for row in rows}
            for title, rows in measured(script)["tables"].items()}


def beside(what: str, rows: dict[str, dict], arm: str, other: str, unit: str) -> list[str]:
    """One arm beside another: how many a second, and the ratio with its range."""
    row = rows[arm]
    return [f"{what}, {arm.removeprefix('hpkit, ')}", f"{row['median']:,.0f} {unit}/s",
            f"{rows[other]['median']:,.0f} ({other})",
            f"{row['ratio']:.1f} [{row['ratio least']:.1f}, {row['ratio most']:.1f}]"]


def trained() -> list[list[str]]:
    found, rows = figures("training"), []
    for network, what, unit in (("unet", "U-Net trained", "patches"),
                                ("l2net", "L2-Net trained", "triplets")):
        arms = found[f"{network}: {unit} a second"]
        rows += [beside(what, arms, arm, SIDE, unit) for arm in arms
                 if arm.startswith("hpkit") and "one pass" not in arm]
    for work in ("denoise", "describe"):
        arms = figures("inference")[f"{work}: patches a second"]
        rows += [beside(f"`{work}`", arms, arm, "Keras, predict", "patches") for arm in arms
                 if arm.startswith("hpkit")]
    return rows


def needed() -> list[list[str]]:
    """What the processor would have to do for 2.5 times Keras' training, 7 times its inference."""
    inference, training, rows = figures("inference"), figures("training"), []
    for step in measured("where_time_goes")["tables"]["a step of 50"]:
        if step["precision"] == "float32":
            continue
        network, unit, work = {"unet": ("U-Net", "patches", "denoise"),
                               "l2net": ("L2-Net", "triplets", "describe")}[step["network"]]
        trained = training[f"{step['network']}: {unit} a second"][SIDE]["median"]
        predicted = inference[f"{work}: patches a second"]["Keras, predict"]["median"]
        for what, rate, flops in (
                (f"2.5 times Keras in training {network}", 2.5 * trained,
                 step["GFLOP a step"] / 50),
                (f"7 times Keras with `{work}`", 7 * predicted, step["GFLOP a patch, forward"])):
            rows.append([f"{what} would need", f"{rate * flops:.0f} GFLOP/s",
                         f"{step['peak GFLOP/s']:.0f} (that product of matrices)",
                         f"{rate * flops / step['peak GFLOP/s']:.0%}"])
    return rows


def learned() -> list[list[str]]:
    """The last validation losses of all seeds, from least to most."""
    rows = []
    for network, what in (("unet", "U-Net"), ("l2net", "L2-Net")):
        arms = figures("training")[f"{network}: validation loss"]
        ranges = {arm: f"{row['last min']:.3g} to {row['last max']:.3g} ({arm})"
                  for arm, row in arms.items() if "one pass" not in arm}
        other = ranges.pop(SIDE)
        rows.append([f"{what}'s validation loss at the end, three seeds",
                     "; ".join(ranges.values()).replace("hpkit, ", ""), other, ""])
    return rows


def scored() -> list[list[str]]:
    return [[f"scoring at full size: {task}", f"{row['hpkit median']:.1f} s",
             f"{row['seconds']:.0f} s (as the official script does it)",
             f"{row['times faster']:.0f} [{row['seconds'] / row['hpkit max']:.0f}, "
             f"{row['seconds'] / row['hpkit min']:.0f}]"]
            for task, row in figures("evaluation")["seconds at full size"].items()] + [[
                "memory of it", f"{row['above']:.2f} GB", f"{row['descriptors']:.2f} GB of "
                "descriptors", ""] for row in figures("evaluation")["memory, GB"].values()]


def reached() -> list[list[str]]:
    """Time to quality, of each seed."""
    (rows,) = measured("quality")["tables"].values()
    best = {row["seed"]: row for row in rows if row["recipe"] == "best recipe"}
    lines = []
    for row in (row for row in rows if row["recipe"] != "best recipe"):
        times = row["times the best recipe's"]
        other = (f"{row['seconds']:.0f} s ({row['recipe']})" if row["reached"] else
                 f"{row['mAP']:.3f} after {row['seconds']:.0f} s ({row['recipe']})")
        lines.append([f"training to the final model's validation mAP ({row['target']:.3f})",
                      f"{best[row['seed']]['seconds']:.1f} s (best recipe)", other,
                      f"{times:.0f}" if row["reached"] else f"over {times:.0f}"])
    return lines


def spent() -> list[list[str]]:
    """How fast a step is beside a product of matrices, and the parts that take most of it."""
    tables = measured("where_time_goes")["tables"]

    def largest(arm: str) -> str:
        parts = sorted(((row[arm], row["index"]) for row in tables["shares"]), reverse=True)
        return "; ".join(f"{name} {share:.0%}" for share, name in parts[:3])

    return [[f"a step of 50 ({row['network']}, {row['precision']}), and what takes most of it",
             f"{row['milliseconds a step']:.0f} ms: {row['GFLOP/s']:.0f} GFLOP/s",
             f"{row['peak GFLOP/s']:.0f} (a product of two 2048 × 2048 matrices)",
             f"{row['share of the peak']:.0%}; {largest(row['network'] + ', ' + row['precision'])}"]
            for row in tables["a step of 50"]]


def scaled() -> list[list[str]]:
    """The smallest and the largest of each series."""
    rows = []
    for title, table in figures("scaling").items():
        (few, first), *_, (many, last) = table.items()
        unit = title.partition(" by ")[2].partition(" (")[0] or "patches"
        rows.append([f"{title}: {few:,} and {many:,} {unit}", f"{first['seconds']:.1f} and "
                     f"{last['seconds']:.1f} s", f"{first['peak GB']:.2f} and "
                     f"{last['peak GB']:.2f} GB", f"{last['seconds'] / first['seconds']:.1f}"])
    return rows


def started() -> list[list[str]]:
    rows, book = figures("startup")["seconds"], figures("whole_book")["seconds"]["the whole book"]
    from_nothing, kept = (value / 60 for value in [*book.values()][1:])
    return [[f"`{what}`" if "import" in what else what, f"{row['median']:.2f} s", "", ""]
            for what, row in rows.items()] + [
        ["the whole book, from nothing, and with its runs in the store",
         f"{from_nothing:.0f} and {kept:.1f} minutes", "", ""],
        ["measured on", "{processor}, {threads} of {cores} cores, torch {torch}".format(
            **measured("whole_book")["machine"]), "", ""]]


def table() -> str:
    """All of it, as it stands on the page on speed."""
    parts = (reached(), trained(), learned(), spent(), needed(), scored(), scaled(), started())
    return readme.markdown(COLUMNS, [row for part in parts for row in part])


def on_a_gpu() -> str:
    """What `gpu_check.py` measured, as it stands on the page on speed."""
    found, machine = measured("gpu_check")["tables"], measured("gpu_check")["machine"]
    off = max(abs(row["there"] - row["processor"]) / (row["processor"] if row["index"] == "MAE"
                                                      else 1) for row in found["the same weights"])
    same = found["the same bytes"]
    repeats = sum(row["run again"] and row["stopped and resumed"] for row in same)
    (best,), paper = found["best recipe"], found["the coursework's scale"]
    rows = [[f"{row['training']}, batches of {row['batch']}, {row['precision']}",
             f"{row['samples a second']:,.0f} a second, {row['peak MB']:,.0f} MB"]
            for row in found["throughput"]]
    rows += [["all of the best recipe", f"{best['seconds']:.0f} s; matching mAP "
              f"{best['matching']:.3f} (seed 0)"],
             ["one seed of chapter 10 at the coursework's scale, training alone",
              f"{sum(row['minutes'] for row in paper):.0f} minutes, by the rows of batches of 50"],
             ["scores of the same weights, beside the processor's", f"{off:.0e} off at most"],
             ["short runs made again, and stopped and gone on with",
              f"{repeats} of {len(same)} gave the same bytes"]]
    return readme.markdown([machine["gpu"], f"torch {machine['torch']}"], rows)


def shared() -> str:
    """What a server needs for a class, as it stands on the page on teaching."""
    found, machine = figures("kernels"), measured("kernels")["machine"]
    (many,) = [title for title in found if title.endswith("kernels at once")]
    rows, load = found[many], found["load"]["before the start"]["load average"]
    own, peak = rows["own after training, MB"], rows["peak, MB"]
    libraries = rows["with libraries, MB"]["median"] - own["median"]
    class_of = (CLASS * own["max"] + libraries) / 1e3
    first, training = rows["first figure, s"], rows["training, s"]
    unfair = f"{first['max over min']:.2f} and {training['max over min']:.2f}"
    busy = f"; other programs ran (load average {load:.0f})" if load > QUIET else ""
    seconds = f"{first['median']:.0f} s{busy and ', not a quiet machine'}"
    lines = [["a kernel's own memory at the first figure",
              f"{rows['own at the figure, MB']['max']:.0f} MB at most"],
             ["after a short run", f"{own['max']:.0f} MB at most"],
             ["libraries, which all kernels share", f"{libraries:.0f} MB"],
             ["the most that a kernel held, libraries included", f"{peak['max']:.0f} MB"],
             [f"so {CLASS} kernels need, if all have trained", f"{class_of:.0f} GB"],
             ["a limit for each student, with room for two kernels",
              f"{math.ceil(2 * peak['max'] / 1e3)} GB"],
             ["until the first figure", seconds],
             ["the slowest kernel's time over the fastest's, first figure and training", unfair],
             ["measured on", f"{machine['processor']}, {machine['cores']} cores{busy}"]]
    return readme.markdown([many, "a thread each"], lines)


def chapter_seconds() -> dict[str, str]:
    """How long each chapter runs from nothing, as the README's table of chapters has it.

    On a recent processor, and on one that does not multiply bfloat16.
    """
    books = [figures(name)["seconds"] for name in ("whole_book", "whole_book_float32")]
    names = {name for book in books for name in book if name[0].isdigit()}
    return {name: " | ".join(f"{book[name]['from nothing']:.0f} s" if name in book else "not timed"
                             for book in books) for name in sorted(names)}


def put_seconds() -> None:
    """Into the README's table of chapters."""
    text = readme.README.read_text(encoding="utf-8")
    for name, seconds in chapter_seconds().items():
        line = rf"(\| \[{name}\][^|]*\|[^|]*\| )[^|]*\|[^|]*( \|)"
        text = re.sub(line, rf"\g<1>{seconds}\2", text)
    readme.README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    readme.put("make benchmark", table())
    readme.put("tests/benchmarks/tables.py", on_a_gpu())
    readme.put("tests/benchmarks/kernels.py", shared())
    put_seconds()
