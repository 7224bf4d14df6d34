"""Times one training step: points to updated weights, graph building included.

    python examples/benchmarks/step_time.py qm9-t3-256
    python examples/benchmarks/step_time.py cloud-4000 --json
    python examples/benchmarks/step_time.py qm9-se3-256 --original LieConv

Workloads: qm9-t3-1536, qm9-t3-256, qm9-se3-256, springs-384, rotmnist-t2, rotmnist-so2,
rotmnist-se2, and for N points, from 64, cloud-N, and shapes-N with subsampling.
With --json a line for each implementation: median milliseconds of forward, backward
and Adam; points before lifting, edges; peak memory of the process (on a GPU, of its
memory); gemm_share, the share of the rate of a large matrix product, measured in the
same run, that the matrix products of the step reach. With --original, a clone of the
authors' code (https://github.com/mfinzi/LieConv), the two implementations take turns,
in processes of their own, ours with fused Adam.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from contextlib import nullcontext
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from original import (
    original_image_network,
    original_inputs,
    original_network,
    original_springs_loss,
)
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula
from workloads import (
    AnyWorkload,
    ImageWorkload,
    ShapesWorkload,
    SpringsWorkload,
    Workload,
    workload,
)

from lieconv_pyg.memory import keep_memory
from lieconv_pyg.nn.linear import has_onednn

PRECISIONS = ("float32", "tf32", "bf16")

if has_onednn():
    onednn = torch.ops.mkldnn._linear_pointwise

    @register_flop_formula(onednn)
    def _(a: torch.Size, b: torch.Size, *_: Any, **__: Any) -> int:
        return 2 * a[0] * b[0] * a[1]


@register_flop_formula(torch.ops.aten.addmm_)
def _(_: torch.Size, a: torch.Size, b: torch.Size, *__: Any, **___: Any) -> int:
    return 2 * a[0] * a[1] * b[1]


def whole(text: str) -> int:
    """A number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workload")
    parser.add_argument("--json", action="store_true", help="print lines of JSON")
    parser.add_argument("--original", type=Path, metavar="CLONE")
    parser.add_argument("--batch_size", type=whole, help="instead of the workload's")
    parser.add_argument(
        "--turns", type=whole, default=5, help="how many, of a second or five steps"
    )
    parser.add_argument("--threads", type=whole, help="how many, on the CPU")
    parser.add_argument(
        "--keep_memory",
        action="store_true",
        help="call lieconv_pyg.memory.keep_memory in both, as the command lieconv does",
    )
    parser.add_argument(
        "--recompute",
        action="store_true",
        help="springs: compute twice what would be kept for the gradient",
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS)
    parser.add_argument("--backend", help="of the neighbour search")
    return parser.parse_args()


def peak_mb(device: str) -> float:
    """Most memory that the process, or its GPU, has used so far."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    kilobyte = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobyte / 1e6


class Step:
    """A training step of one implementation on one workload."""

    def __init__(self, work: AnyWorkload, args: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.device = torch.device(args.device)
        self.autocast = args.precision == "bf16"
        if isinstance(work, SpringsWorkload):
            network = self._prepare_springs(work, args)
        elif isinstance(work, (ImageWorkload, ShapesWorkload)):
            network = self._prepare_images(work, args)
        else:
            network = self._prepare(work, args)
        self.optimizer = torch.optim.Adam(
            network.parameters(), lr=1e-3, fused=args.original is None
        )

    def _prepare_springs(
        self, work: SpringsWorkload, args: argparse.Namespace
    ) -> torch.nn.Module:
        data = [value.to(self.device) for value in work.data()]
        self.num_nodes = data[0].size(0)
        self.num_edges = 6 * self.num_nodes
        if args.original is not None:
            network, loss = original_springs_loss(args.original, work, self.device)
            self.loss = self.counted_loss = loss
            return network
        network = work.network().to(self.device)
        self.loss = partial(work.loss, network, *data, recompute=args.recompute)
        self.counted_loss = partial(work.loss, network, *data)
        return network

    def _prepare_images(
        self, work: ImageWorkload | ShapesWorkload, args: argparse.Namespace
    ) -> torch.nn.Module:
        x, pos, batch, y = (v if v is None else v.to(self.device) for v in work.data())
        network = work.network(args.backend).to(self.device)
        network.calibrate(pos, batch)
        self.num_nodes = pos.size(0)
        if network.grid.is_set:
            found = network.net.draw(network.grid.found(0, network._prepare)[1])
            copies = work.batch_size
        else:
            found, copies = network.net.resolutions(network.net.lift(pos, batch)), 1
        self.num_edges = copies * sum(now.graph.edge_index.size(1) for now in found)
        inputs: tuple[Any, ...] = (x, pos, batch)
        if args.original is not None:
            network = original_image_network(args.original, work, network)
            network = network.to(self.device)
            inputs = (work.images()[0].to(self.device),)

        def loss() -> torch.Tensor:
            return torch.nn.functional.cross_entropy(network(*inputs).float(), y)

        self.loss = self.counted_loss = loss
        return network

    def _prepare(self, work: Workload, args: argparse.Namespace) -> torch.nn.Module:
        x, pos, batch, y = (value.to(self.device) for value in work.data())
        network = work.network(args.backend).to(self.device)
        network.calibrate(pos, batch)
        self.num_nodes = pos.size(0)
        lifted = network.lift(pos, batch)
        self.num_edges = network.resolutions(lifted)[0].graph.edge_index.size(1)
        inputs: tuple[Any, ...] = (x, pos, batch)
        settings = {"batch_size": work.batch_size}
        if args.original is not None:
            radius = float(network.neighborhoods[0].radius)
            network = original_network(args.original, work, radius).to(self.device)
            inputs, settings = (original_inputs(x, pos, batch),), {}

        def loss() -> torch.Tensor:
            return (network(*inputs, **settings).float() - y).abs().mean()

        self.loss = self.counted_loss = loss
        return network

    def __call__(self) -> float:
        """Makes a step; its milliseconds."""
        start = self._now()
        self.optimizer.zero_grad()
        context = torch.autocast(self.device.type, torch.bfloat16)
        with context if self.autocast else nullcontext():
            loss = self.loss()
        loss.backward()
        self.optimizer.step()
        return 1000 * (self._now() - start)

    def turn(self, seconds: float = 1.0) -> list[float]:
        """Makes steps for a while; their milliseconds, without the first two."""
        end = self._now() + seconds
        times = [self(), self()]
        while len(times) < 5 or self._now() < end:
            times.append(self())
        return times[2:]

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def flops(self) -> int:
        """Floating-point operations of the matrix products of a step, without those
        that are done twice."""
        with FlopCounterMode(display=False) as counter:
            self.counted_loss().backward()
        return counter.get_total_flops()

    def gemm_rate(self, size: int = 2048) -> float:
        """Floating-point operations a second of a large matrix product, by the fastest
        library."""
        dtype = torch.bfloat16 if self.autocast else torch.float32
        a, b = torch.randn(2, size, size, device=self.device).to(dtype)
        products = [lambda: a @ b]
        if self.device.type == "cpu" and has_onednn():
            products.append(lambda: onednn(a, b, None, "none", [], ""))
        rates = []
        for product in products:
            times = []
            for _ in range(8):
                start = self._now()
                product()
                times.append(self._now() - start)
            rates.append(2 * size**3 / statistics.median(times))
        return max(rates)


def serve(pipe: Connection, work: AnyWorkload, args: argparse.Namespace) -> None:
    """Makes steps when told, in a process of its own."""
    if args.keep_memory:
        keep_memory()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    if args.precision == "tf32":
        torch.set_float32_matmul_precision("high")
    step = Step(work, args)
    while pipe.recv():
        pipe.send(step.turn())
    peak = peak_mb(args.device)
    rate = step.gemm_rate()
    threads = torch.get_num_threads()
    pipe.send((step.num_nodes, step.num_edges, peak, step.flops(), rate, threads))


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row of figures for each implementation."""
    work = workload(args.workload, args.batch_size)
    sides = {"lieconv_pyg": argparse.Namespace(**vars(args) | {"original": None})}
    if args.original is not None:
        sides["original"] = args
    context = get_context("spawn")
    pipes, times = {}, {name: [] for name in sides}
    Step(work, args)  # what is wrong shows here, and not in another process
    for name, side in sides.items():
        pipes[name], other = context.Pipe()
        context.Process(target=serve, args=(other, work, side), daemon=True).start()
        other.close()
    for _ in range(args.turns):
        for name, pipe in pipes.items():
            pipe.send(True)
            times[name] += pipe.recv()

    rows = []
    for name, pipe in pipes.items():
        pipe.send(False)
        nodes, edges, peak, flops, rate, threads = pipe.recv()
        ms = statistics.median(times[name])
        rows.append(
            {
                "workload": args.workload,
                "implementation": name,
                "ms": round(ms, 2),
                "nodes": nodes,
                "edges": edges,
                "peak_mb": round(peak),
                "gemm_share": round(flops / (ms / 1000) / rate, 3),
                "gflop": round(flops / 1e9, 3),
                "gemm_gflop_s": round(rate / 1e9, 1),
                "batch_size": work.batch_size,
                "steps": len(times[name]),
                "device": args.device,
                "precision": args.precision,
                "threads": threads,
                "keep_memory": args.keep_memory,
                "recompute": args.recompute,
                "backend": args.backend,
            }
        )
    return rows


def main() -> None:
    args = parse_args()
    try:
        rows = measure(args)
    except (ValueError, ImportError, AssertionError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    for row in rows:
        if args.json:
            print(json.dumps(row), flush=True)
        else:
            print(
                *(f"{key} {value}" for key, value in row.items()), sep="\n", end="\n\n"
            )


if __name__ == "__main__":
    main()
