"""Times what a graph is made of: lifting, neighbour search, pair coordinates.

    python examples/benchmarks/graph_time.py
    python examples/benchmarks/graph_time.py molecules --json

Cases: plane and space, 100,000 points with 32 neighbours in T(2) and T(3); molecules,
1,000 of 13 to 23 atoms in SE(3) with 4 lifts, half of the points as neighbours, of
which 25 are drawn. A line for each search that is installed, of medians in
milliseconds; the search contains pair coordinates and distances of the candidates; each
in a process of its own.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch
from step_time import peak_mb, whole
from workloads import Workload, workload

from lieconv_pyg import lift
from lieconv_pyg.groups import group_resolver
from lieconv_pyg.memory import keep_memory
from lieconv_pyg.neighbors import (
    available_backends,
    calibrate_radius,
    pair_coordinates,
    radius_graph,
)

CASES = {
    "plane": Workload("plane", "T(2)", 64, 2, 1, (100_000,) * 2, fill=32 / 100_000),
    "space": workload("cloud-100000"),
    "molecules": workload("qm9-se3-256", 1000),
}


def median_ms(function: Callable[[], Any], device: str, number: int) -> float:
    times = []
    for _ in range(number + 1):
        start = time.perf_counter()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def measure(case: str, backend: str, device: str, number: int) -> dict[str, Any]:
    keep_memory()
    torch.manual_seed(0)
    work, group = CASES[case], group_resolver(CASES[case].group)
    _, pos, batch, _ = (value.to(device) for value in work.data())
    pos = pos[:, : group.space_dim]

    def lifting() -> Any:
        return lift(group, pos, batch, work.num_lifts)

    lifted = lifting()
    radius = calibrate_radius(group, lifted, work.fill)

    def search() -> Any:
        return radius_graph(
            group, lifted, radius, num_neighbors=work.num_neighbors, backend=backend
        )

    graph = search()
    return {
        "workload": case,
        "backend": backend,
        "nodes": len(pos),
        "edges": graph.edge_index.size(1),
        "lift_ms": round(median_ms(lifting, device, number), 1),
        "search_ms": round(median_ms(search, device, number), 1),
        "pairs_ms": round(
            median_ms(
                lambda: pair_coordinates(group, lifted, lifted, graph.edge_index),
                device,
                number,
            ),
            1,
        ),
        "peak_mb": round(peak_mb(device)),
        "device": device,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case", nargs="*", help=f"of {', '.join(CASES)}; all")
    parser.add_argument("--json", action="store_true", help="print lines of JSON")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--number", type=whole, default=5, help="of measurements")
    args = parser.parse_args()
    for case in args.case:
        if case not in CASES:
            sys.exit(f"error: no case is called {case!r}: take {', '.join(CASES)}")
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: there is no CUDA here")
    backends = available_backends(torch.device(args.device))
    with ProcessPoolExecutor(
        1, get_context("spawn"), max_tasks_per_child=1
    ) as processes:
        for case in args.case or CASES:
            for backend in backends:
                job = processes.submit(measure, case, backend, args.device, args.number)
                row = job.result()
                shown = (f"{key} {value}" for key, value in row.items())
                print(json.dumps(row) if args.json else "  ".join(shown), flush=True)


if __name__ == "__main__":
    main()
