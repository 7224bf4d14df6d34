"""How far networks leave a symmetry that data break: exact, relaxed, residual pathway
and free ones, over the size of the breaking.

    python examples/soft_symmetry.py
    python examples/soft_symmetry.py --data pendulum
    python examples/soft_symmetry.py --dial 0 0.3 --seeds 0 --epochs 20

The data are moments of inertia changed along one axis (ModifiedInertia: rotations in
space), or the forces on a double spring pendulum in the wind (WindyPendulum: rotations
about the vertical). All networks are LieResNet, of the same width and depth, and differ
in their convolution: LieConv, RelaxedLieConv with a penalty, RPPLieConv with its
priors, and LieConv of the trivial group. Matrices and vectors are turned from lifted
frames, which are equivariant, so that the first one is exact.

Each case leaves a file in the output folder, and is not computed again; at the end
there are results.md and soft_symmetry.png. Errors are relative to the size of targets
or outputs, over all test items; that of equivariance, | f(g x) - g f(x) | / | f(x) |,
is the median over 16 random g, and stands beside that of the data.
"""

import argparse
import itertools
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, seed_everything
from torch import Tensor
from torch.utils.data import DataLoader
from torch_geometric.data import Batch, Data
from torch_geometric.utils import scatter

from lieconv_pyg.datasets import ModifiedInertia, modified_inertia
from lieconv_pyg.dynamics import Trajectories, WindyPendulum
from lieconv_pyg.figures import COLOURS, new_figure
from lieconv_pyg.groups import SO3, MatrixLieGroup, Trivial
from lieconv_pyg.lifting import Lifted
from lieconv_pyg.nn import (
    LieConv,
    LieResNet,
    RelaxedLieConv,
    RPPLieConv,
    pathway_prior,
    relaxation_penalty,
)
from lieconv_pyg.nn.residual_pathway import FREE_SCALE
from lieconv_pyg.training import quiet
from lieconv_pyg.training.trainer_parts import bare_trainer

RELAXED = {"num_banks": 4, "side": "output", "coordinates": "element"}
NETWORKS = {
    "exact": LieConv,
    "relaxed": partial(RelaxedLieConv, **RELAXED),
    "RPP": RPPLieConv,
    "free": LieConv,
}
DIALS = {"inertia": (0.0, 0.1, 0.3, 1.0), "pendulum": (0.0, 0.01, 0.03, 0.1)}
#: What else the result of a network depends on.
WEIGHTS = {"relaxed": ["penalty"], "RPP": ["prior", "free_prior"]}
TITLES = {"test error": "test", "equivariance error": "equivariance"}
SPLITS = ("train", "val", "test")


class Inertia:
    """Matrices of examples, and all rotations."""

    rank, in_channels, pooled = 2, 1, True
    group = SO3()

    def __init__(self, dial: float, seed: int, args: argparse.Namespace) -> None:
        self.dial = dial
        self.parts = [
            list(ModifiedInertia(split, args.num, dial, seed=seed)) for split in SPLITS
        ]

    def elements(self, num: int, random: torch.Generator) -> Tensor:
        """Random rotations."""
        return self.group.sample(num, generator=random, dtype=torch.double)

    def target(self, data: Batch, g: Tensor | None = None) -> Tensor:
        """The matrices (B, 3, 3), at points that are moved by a rotation."""
        pos = data.pos if g is None else turned(g, data.pos)
        mass, pos = (v.unflatten(0, (data.num_graphs, -1)) for v in (data.x[:, 0], pos))
        return modified_inertia(mass, pos, self.dial)


class Pendulum:
    """Forces on particles along trajectories, and rotations about the vertical."""

    rank, in_channels, pooled = 1, 2, False
    group = MatrixLieGroup.from_basis([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0] * 3]])

    def __init__(self, dial: float, seed: int, args: argparse.Namespace) -> None:
        self.system = WindyPendulum(dial)
        self.parts = []
        for split in ("train", "valid", "test"):
            folder = args.output / "trajectories" / f"{dial:g}-{seed}-{args.num}"
            states = Trajectories(
                folder,
                self.system,
                split,
                num_systems=-(-args.num // 10),
                num_chunks=10,
                num_states=50,
                tol=1e-6,
                seed=seed,
                progress=False,
            )
            data = [Data(x=item.x, pos=item.pos[:, 0]) for item in states][: args.num]
            together = Batch.from_data_list(data)
            force = self.target(together).view(len(data), 2, 3)
            self.parts.append(
                [Data(x=d.x, pos=d.pos, y=y) for d, y in zip(data, force, strict=True)]
            )

    def elements(self, num: int, random: torch.Generator) -> Tensor:
        """Rotations by angles that are uniform."""
        angle = torch.rand(num, 1, generator=random, dtype=torch.double)
        return self.group.exp(2 * math.pi * angle)

    def target(self, data: Batch, g: Tensor | None = None) -> Tensor:
        """The forces (N, 3), at points that are moved by a rotation."""
        pos = data.pos if g is None else turned(g, data.pos)
        return self.system.force(data.x, pos, data.batch, data.num_graphs)


def turned(u: Tensor, y: Tensor) -> Tensor:
    """Vectors (M, 3) or matrices (M, 3, 3) moved by rotations (M, 3, 3) or (3, 3)."""
    if y.dim() == 2:
        return (u @ y.unsqueeze(-1)).squeeze(-1)
    return u @ y @ u.mT


def apart(lifted: Lifted) -> Lifted:
    """Lifted points as points of their own, for an output of each."""
    return lifted._replace(point=torch.arange(len(lifted.point)))


TASKS = {"inertia": Inertia, "pendulum": Pendulum}


class TensorNetwork(torch.nn.Module):
    """A LieResNet whose outputs on lifted points are turned from their frames. With
    residual pathways there are also outputs that are not turned, which start small."""

    def __init__(self, kind: str, task: Inertia | Pendulum, args: argparse.Namespace):
        super().__init__()
        self.shape, self.pooled = [3] * task.rank, task.pooled
        self.size, self.args = 3**task.rank, args
        self.net = LieResNet(
            task.in_channels,
            (2 if kind == "RPP" else 1) * self.size,
            Trivial(3) if kind == "free" else task.group,
            hidden_channels=args.hidden,
            num_layers=args.layers,
            lift="frames",
            pool=None,
            norm=None,
            conv=NETWORKS[kind],
        )
        for value in self.net.lin_out.parameters():
            value.data[self.size :].mul_(FREE_SCALE)

    @torch.no_grad()
    def lift(self, data: Batch) -> tuple[Lifted, list]:
        """The points, in the frames of their example, and their neighbours."""
        lifted = self.net.lift(data.pos, data.batch)
        return lifted, self.net.resolutions(apart(lifted))

    def forward(self, data: Batch, lifted: Lifted, graph: list) -> Tensor:
        """Outputs (B, 3, 3) of examples or (N, 3) of points."""
        out = self.net(data.x[lifted.point], lifted=apart(lifted), graph=graph)
        turning, *free = out.unflatten(1, (-1, *self.shape)).unbind(1)
        out = sum(free, start=turned(lifted.element, turning))
        if self.pooled:
            return scatter(out, lifted.batch, 0, data.num_graphs, "mean")
        return scatter(out, lifted.point, 0, data.num_nodes, "mean")

    def regularizer(self, lifted: Lifted) -> Tensor | float:
        """What the loss has besides the error."""
        kinds = {type(module) for module in self.modules()}
        if RelaxedLieConv in kinds:
            return self.args.penalty * relaxation_penalty(self.net, lifted)
        if RPPLieConv in kinds:
            weights = self.args.prior, self.args.free_prior
            last = self.net.lin_out.weight.square().sum(1)
            own = last[: self.size].sum(), last[self.size :].sum()
            own = sum(w * size for w, size in zip(weights, own, strict=True))
            return own + pathway_prior(self.net, *weights)
        return 0.0


class Regression(LightningModule):
    """Adam with a cosine to 0, on the mean square error in a unit of the data."""

    def __init__(self, network: TensorNetwork, unit: float) -> None:
        super().__init__()
        self.network, self.unit = network, unit

    def training_step(self, batch: tuple[Batch, Lifted, list], index: int) -> Tensor:
        """The error and the regularizer."""
        error = F.mse_loss(self.network(*batch), batch[0].y / self.unit)
        return error + self.network.regularizer(batch[1])

    def transfer_batch_to_device(self, batch, device, index):
        """Nothing is moved: graphs are where they were built, on the CPU."""
        return batch

    def configure_optimizers(self):
        """Of one group of parameters."""
        optimizer = torch.optim.Adam(self.parameters(), self.network.args.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return [optimizer], [{"scheduler": cosine, "interval": "step"}]

    def predict(self, data: Batch, g: Tensor | None = None) -> Tensor:
        """The network's output, at points that are moved by a rotation."""
        if g is not None:
            data = data.clone()
            data.pos = turned(g, data.pos)
        return self.unit * self.network(data, *self.network.lift(data))


def batches(network: TensorNetwork, data: list[Data]) -> DataLoader:
    """Examples in batches that are lifted once, and come in a new order each time."""
    size = network.args.batch_size
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    together = [Batch.from_data_list(chunk) for chunk in chunks]
    lifted = [(batch, *network.lift(batch)) for batch in together]
    return DataLoader(lifted, batch_size=None, shuffle=True, collate_fn=tuple)


def equivariance_error(f: Callable[..., Tensor], data: Batch, moves: Tensor) -> float:
    """The median over g of | f(g x) - g f(x) | / | f(x) |, of all examples together."""
    still = f(data)
    errors = [float((f(data, g) - turned(g, still)).norm()) for g in moves]
    return statistics.median(errors) / float(still.norm())


def run(kind: str, dial: float, seed: int, args: argparse.Namespace) -> dict:
    """Trains one network, and measures it."""
    task = TASKS[args.data](dial, seed, args)
    single = [[item.apply(Tensor.float) for item in part] for part in task.parts]
    train, val, test = (Batch.from_data_list(part) for part in single)
    seed_everything(seed, verbose=False)
    unit = float(train.y.square().mean().sqrt())
    model = Regression(TensorNetwork(kind, task, args), unit)
    start = time.perf_counter()
    with quiet():
        trainer = bare_trainer(
            max_epochs=args.epochs, accelerator="cpu", gradient_clip_val=1.0
        )
        trainer.fit(model, batches(model.network, single[0]))
    seconds = time.perf_counter() - start
    model.eval()
    moves = task.elements(16, torch.Generator().manual_seed(0)).float()
    with torch.no_grad():
        errors = {
            name: float((model.predict(part) - part.y).norm() / part.y.norm())
            for name, part in {"train": train, "val": val, "test": test}.items()
        }
        return {
            **errors,
            "equivariance": equivariance_error(model.predict, test, moves),
            "data": equivariance_error(task.target, test, moves),
            "parameters": sum(p.numel() for p in model.parameters()),
            "seconds": seconds,
        }


def saved(case: tuple, args: argparse.Namespace) -> dict:
    """What a file of the output folder says of a case, or what it will say then."""
    kind, dial, seed = case
    names = ["data", "num", "epochs", "batch_size", "hidden", "layers", "lr"]
    names += WEIGHTS.get(kind, [])
    settings = {name: getattr(args, name) for name in names}
    file = args.output / f"{kind}-{dial:g}-{seed}.json"
    if file.exists():
        found = json.loads(file.read_text())
        if found["settings"] != settings:
            sys.exit(f"{file} is of other settings: take another --output")
        return found["result"]
    result = run(kind, dial, seed, args)
    file.write_text(json.dumps({"settings": settings, "result": result}))
    print(
        f"{kind}, {dial:g}, seed {seed}: test error {result['test']:.3f}, equivariance "
        f"error {result['equivariance']:.2g}, {result['seconds']:.0f} s",
        flush=True,
    )
    return result


def curve(cases: dict[tuple, dict], key: str, kind: str) -> dict[float, list[float]]:
    """A figure of all seeds of a network, for each size of the breaking."""
    found: dict[float, list[float]] = {}
    for (name, dial, _), result in sorted(cases.items()):
        if name == kind:
            found.setdefault(dial, []).append(result[key])
    return found


def table(cases: dict[tuple, dict], kinds: list[str]) -> str:
    """Means over the seeds, with the least and the largest, as Markdown."""
    lines = []
    for title, key in TITLES.items():
        rows = {kind: curve(cases, key, kind) for kind in kinds}
        if key == "equivariance":
            rows["the data"] = curve(cases, "data", kinds[0])
        dials = [f"{dial:g}" for dial in rows[kinds[0]]]
        lines += [[title, *dials], ["---"] * (len(dials) + 1)]
        for name, row in rows.items():
            lines.append([name, *map(spread, row.values())])
        lines.append([])
    return "\n".join(f"| {' | '.join(line)} |" if line else "" for line in lines)


def spread(values: list[float]) -> str:
    """The mean with the least and the largest."""
    mean, *ends = (f"{f(values):.2g}" for f in (statistics.mean, min, max))
    return f"{mean} ({' to '.join(ends)})" if {*ends} != {mean} else mean


def draw(cases: dict[tuple, dict], args: argparse.Namespace) -> None:
    """Both errors over the size of the breaking; 0 is at the left end."""
    figure = new_figure(9.2, 4.0)
    panels = figure.subplots(1, 2)
    for panel, (title, key) in zip(panels, TITLES.items(), strict=True):
        lines = {kind: curve(cases, key, kind) for kind in args.networks}
        if key == "equivariance":
            lines["the data"] = curve(cases, "data", args.networks[0])
        for name, line in lines.items():
            colour = COLOURS[list(NETWORKS).index(name)] if name in NETWORKS else "k"
            means = [statistics.mean(values) for values in line.values()]
            style = "o-" if name in NETWORKS else ":"
            panel.plot(range(len(line)), means, style, color=colour, label=name)
            for place, values in enumerate(line.values()):
                panel.scatter([place] * len(values), values, 8, colour, alpha=0.6)
        panel.set_xticks(range(len(line)), [f"{dial:g}" for dial in line])
        panel.set_xlabel(f"size of the breaking ({args.data})")
        panel.set_ylabel(title)
        panel.set_yscale("log")
        panel.grid(True, alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    handles = panels[1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=5, frameon=False)
    figure.savefig(args.output / "soft_symmetry.png")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", default="inertia", choices=TASKS)
    add("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    add("--dial", type=float, nargs="+", help="sizes of the breaking")
    add("--seeds", type=int, nargs="+", default=[0, 1])
    add("--num", type=int, default=1000, help="examples of each split")
    add("--epochs", type=int, default=30)
    add("--batch-size", type=int, default=50)
    add("--hidden", type=int, default=32)
    add("--layers", type=int, default=2)
    add("--lr", type=float, default=3e-3)
    add("--penalty", type=float, default=1e-4, help="of relaxed networks")
    add("--prior", type=float, default=1e-6, help="of equivariant maps of RPP")
    add("--free-prior", type=float, default=1e-4, help="of free maps of RPP")
    add("--output", type=Path, help="folder of results")
    args = parser.parse_args()
    args.output = args.output or Path("runs/soft_symmetry") / args.data
    args.output.mkdir(parents=True, exist_ok=True)
    order = itertools.product(args.seeds, args.dial or DIALS[args.data], args.networks)
    cases = {}
    for seed, dial, kind in order:
        cases[kind, dial, seed] = saved((kind, dial, seed), args)
    text = table(cases, args.networks)
    (args.output / "results.md").write_text(text)
    draw(cases, args)
    print("\n" + text)


if __name__ == "__main__":
    main()
