"""Where the time of a training step goes, by the profiler.

    python examples/benchmarks/where_time_goes.py qm9-t3-256
    python examples/benchmarks/where_time_goes.py qm9-t3-256 --without

Prints milliseconds a step of operators of each kind (a table in Markdown). With
--without each of the changes that made the step fast is taken back by itself, in turns
with the step as it is, and the median ratio is printed: how many times longer it takes.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from compare import table
from step_time import Step, whole
from torch.profiler import ProfilerActivity, profile
from workloads import workload

from lieconv_pyg.groups import SE3, T
from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.memory import keep_memory
from lieconv_pyg.neighbors import radius
from lieconv_pyg.nn import aggregation, kernel_network, lie_conv, linear, tiles

KINDS = {
    "matrix products": "mm addmm addmm_ bmm _linear_pointwise",
    "gathering and scattering": "index index_select gather index_copy_ index_add_ "
    "index_fill_ index_put_ scatter_add_",
    "batch norm": "native_batch_norm batch_norm_update_stats "
    "native_batch_norm_backward",
    "swish": "silu silu_ silu_backward",
    "Adam": "_fused_adam_ Optimizer.step#Adam.step",
    "search and sorting": "radius sort _unique2 nonzero searchsorted",
    "copies and zeros": "copy_ fill_ cat constant_pad_nd",
}


def kinds_of_time(step: Step, number: int = 10) -> dict[str, float]:
    """Milliseconds a step in operators of each kind."""
    step.turn()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(number):
            step()
    times = dict.fromkeys([*KINDS, "everything else"], 0.0)
    for event in profiler.key_averages():
        name = event.key.split("::")[-1]
        kind = next((k for k, names in KINDS.items() if name in names.split()), None)
        ms = event.self_cpu_time_total / 1000 / number
        times[kind or "everything else"] += ms
    return times


@contextmanager
def changed(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def reference(x: Any, kernel: Any, edge_index: Any, size: int, _: Any) -> Any:
    return aggregation.aggregate_reference(x, kernel, edge_index, size)


@contextmanager
def pairs_by_matrices() -> Iterator[None]:
    plain = LieGroup.indexed_pairs
    with changed(SE3, "indexed_pairs", plain), changed(T, "indexed_pairs", plain):
        yield


def without() -> dict[str, Callable[[], Any]]:
    """What takes back each of the changes."""
    return {
        "tiles (an outer product an edge)": lambda: changed(
            lie_conv, "aggregate", reference
        ),
        "tiles of components": lambda: changed(tiles, "MIN_DENSITY", 2.0),
        "tiles in pieces": lambda: changed(aggregation, "_PIECE", 1 << 40),
        "kernel network in pieces": lambda: changed(kernel_network, "_MANY", 1 << 40),
        "products by oneDNN": lambda: changed(linear, "_MANY", 1 << 40),
        "pair coordinates once a point": pairs_by_matrices,
        "all pairs of few points": lambda: changed(radius, "FEW_SOURCES", 0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workload")
    parser.add_argument("--without", action="store_true")
    parser.add_argument(
        "--turns", type=whole, default=9, help="how many, of 0.3 s or five steps"
    )
    args = parser.parse_args()
    settings = dict(
        original=None, backend=None, device="cpu", precision="float32", recompute=False
    )
    try:
        work = workload(args.workload)
    except ValueError as error:
        sys.exit(f"error: {error}")

    keep_memory()
    step = Step(work, argparse.Namespace(**settings))
    if not args.without:
        times = kinds_of_time(step)
        times["sum"] = sum(times.values())
        rows = [(kind, f"{ms:.1f}") for kind, ms in times.items()]
        print(table([args.workload, "ms"], rows))
        return
    rows = []
    for name, change in without().items():
        ratios = []
        for _ in range(args.turns):
            usual = statistics.median(step.turn(0.3))
            with change():
                ratios.append(statistics.median(step.turn(0.3)) / usual)
        rows.append((name, f"{statistics.median(ratios):.2f}×"))
    print(table([f"{args.workload} without", "time"], rows))


if __name__ == "__main__":
    main()
