"""Tables and log-log plots from the JSON lines of the benchmarks.

    python examples/benchmarks/step_time.py qm9-t3-256 --json > r.jsonl
    for n in 2000 20000 100000; do
        python examples/benchmarks/step_time.py cloud-$n --json >> r.jsonl
    done
    python examples/benchmarks/compare.py r.jsonl --plot clouds.png

Prints tables in Markdown. With clouds of several sizes the plot shows time and memory
against the number of points, and the exponents are printed.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

Row = dict[str, Any]
STEP = ("workload", "ms", "nodes", "edges", "peak_mb", "gemm_share")
GRAPH = ("workload", "backend", "lift_ms", "search_ms", "pairs_ms", "peak_mb")
#: What rows must share to be compared, and what it usually is.
SETTING = {
    "batch_size": None,
    "device": "cpu",
    "precision": "float32",
    "threads": None,
    "keep_memory": False,
    "recompute": False,
    "backend": None,
}


def read(paths: Iterable[Path]) -> list[Row]:
    """The rows of all files.

    Raises:
        ValueError: for a line that no benchmark printed.
    """
    rows = []
    for path in paths:
        text = path.read_bytes().decode(errors="replace")
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                row = None
            known = isinstance(row, dict) and any(
                all(key in row for key in keys) for keys in (STEP, GRAPH)
            )
            if not known:
                raise ValueError(
                    f"{path}, line {number}: not a line of step_time.py --json or "
                    f"graph_time.py --json: {line[:60]!r}"
                )
            rows.append({"implementation": "lieconv_pyg", **SETTING, **row})
    if not rows:
        raise ValueError(f"no lines in {', '.join(map(str, paths))}")
    return rows


def table(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def step_table(rows: Sequence[Row]) -> str:
    """A line for each workload, with the original where there is one beside it."""
    header = ["workload", "points", "edges", "ms", "original", "ratio"]
    header += ["MB", "original", "share of the matrix-product rate"]
    found: dict[tuple, dict[str, Row]] = {}
    for row in rows:
        key = row["workload"], setting(row)
        found.setdefault(key, {})[row["implementation"]] = row
    lines = []
    for (name, others), sides in found.items():
        ours, theirs = sides.get("lieconv_pyg", {}), sides.get("original", {})
        ratio = f"{theirs['ms'] / ours['ms']:.2f}×" if ours and theirs else ""
        one = ours or theirs
        lines.append(
            [
                " ".join([name, *differing(others, found)]),
                *(one["nodes"], one["edges"]),
                *(ours.get("ms", ""), theirs.get("ms", ""), ratio),
                *(ours.get("peak_mb", ""), theirs.get("peak_mb", "")),
                f"{100 * ours['gemm_share']:.0f}%" if ours else "",
            ]
        )
    return table(header, lines)


def setting(row: Row) -> tuple:
    return tuple(row[name] for name in SETTING)


def differing(values: tuple, found: Iterable[tuple]) -> list[str]:
    """What is unusual in a setting, and what differs from that of other rows."""
    shown = []
    for number, (name, usual) in enumerate(SETTING.items()):
        several = len({others[number] for _, others in found}) > 1
        unusual = usual is not None and values[number] != usual
        if unusual or (several and name != "batch_size"):
            shown.append(f"{name}={values[number]}")
    return shown


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the line of least squares through logarithms."""
    x, y = zip(*((math.log(a), math.log(b)) for a, b in points), strict=True)
    mean = sum(x) / len(x)
    return sum((a - mean) * b for a, b in zip(x, y, strict=True)) / sum(
        (a - mean) ** 2 for a in x
    )


def plot(rows: Sequence[Row], path: Path | None) -> None:
    """Time and memory of clouds, and of shapes, against the number of points.

    Raises:
        ValueError: where a plot is wanted, and there is nothing to draw.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    clouds_of: dict[tuple, dict[int, Row]] = {}
    for row in rows:
        family = row["workload"].split("-")[0]
        if family in ("cloud", "shapes"):
            key = f"{family}, {row['implementation']}", setting(row)
            clouds_of.setdefault(key, {})[row["nodes"]] = row
    clouds_of = {key: clouds for key, clouds in clouds_of.items() if len(clouds) > 1}
    if path is not None and not clouds_of:
        raise ValueError("--plot needs clouds of two sizes in the same setting")
    for (implementation, others), clouds in clouds_of.items():
        name = " ".join([implementation, *differing(others, clouds_of)])
        for panel, key in zip(panels, ("ms", "peak_mb"), strict=True):
            points = [(n, clouds[n][key]) for n in sorted(clouds)]
            slope = exponent(points)
            print(f"{name}: {key} grows as points^{slope:.2f}")
            panel.loglog(
                *zip(*points, strict=True), "o-", label=f"{name}, N^{slope:.2f}"
            )
    for panel, label in zip(
        panels, ("time of a step (ms)", "peak memory (MB)"), strict=True
    ):
        panel.set_xlabel("points N")
        panel.set_ylabel(label)
        panel.grid(True, which="both", alpha=0.3)
        if panel.lines:
            panel.legend()
    if path is not None:
        figure.savefig(path, dpi=150)
        print(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, help="lines of JSON")
    parser.add_argument("--plot", type=Path, help="where the plot goes")
    args = parser.parse_args()
    try:
        rows = read(args.files)
        steps = [row for row in rows if "ms" in row]
        graphs = [row for row in rows if "search_ms" in row]
        if steps:
            print(step_table(steps), end="\n\n")
        if graphs:
            print(table(GRAPH, ([row[key] for key in GRAPH] for row in graphs)))
        plot(steps, args.plot)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
