"""From orbits of two bodies to their symmetry, and from it to a network.

    python examples/two_body.py
    python examples/two_body.py --root liegan_2body.npz --output runs/two_body
    python examples/two_body.py --seeds 0 --discovery-epochs 40 --steps 1000

LieGAN and Augerino+ look for the symmetry of successive states, on training orbits
alone. What they find is scored beside the rotations, cleaned, and made a group, on
which LieResNet predicts five states from the five before. Beside it are the same
network with the true group, a network on invariants of the metric that was found
(InvariantMetricConv, which lifts nothing), MLPs with and without augmentation by what
was found, and a Hamiltonian network. Orbits are split twice: into those that begin in
the lower and in the upper half plane, and at random.

Each seed and split leaves a file in the output folder, of which nothing is computed
again; at the end there are results.md and bases.png. Published errors stand beside
ours; their networks are others (EMLP in the place of LieResNet).
"""

import argparse
import json
import math
import statistics
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, seed_everything
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torch_geometric.nn import MLP

from lieconv_pyg.discovery import (
    AugerinoPlus,
    LieGAN,
    clean_basis,
    invariant_metric,
    plot_basis,
    read_two_body,
    shared_block,
    step_pairs,
    two_body_orbits,
)
from lieconv_pyg.dynamics import HFC, integrate
from lieconv_pyg.groups import SO2, LieGroup, MatrixLieGroup
from lieconv_pyg.neighbors.layout import example_pairs
from lieconv_pyg.nn import InvariantMetricConv, LieResNet
from lieconv_pyg.training import discover, quiet
from lieconv_pyg.training.trainer_parts import bare_trainer

NUM = 5  # states given, and as many to predict
STEP = 20 / 49
#: Test MSE on the split by half planes: of EMLP, and of an MLP with augmentation.
PUBLISHED = {
    "MLP": "8.49e-2",
    "HNN": "3.63e-4",
    "LieResNet, LieGAN": "6.43e-5 (EMLP)",
    "LieResNet, Augerino+": "9.41e-4 (EMLP)",
    "LieResNet, true group": "9.45e-6 (EMLP)",
    "MLP augmented, LieGAN": "3.79e-5",
    "MLP augmented, Augerino+": "1.47",
    "MLP augmented, true group": "1.39e-5",
}


class FromNetwork(torch.nn.Module):
    """LieResNet on the bodies, with their history as vectors: it adds vectors, turned
    back from lifted frames, to the last state."""

    def __init__(self, group: LieGroup) -> None:
        super().__init__()
        self.net = LieResNet(
            1,
            2 * NUM,
            group,
            hidden_channels=64,
            num_layers=2,
            norm=None,
            pool=None,
            in_vectors=2 * NUM,
            out_vectors=True,
        )

    def forward(self, x: Tensor) -> Tensor:
        """States (B, 5, 8) of states (B, 5, 8)."""
        num = len(x)
        state = x.view(num, NUM, 2, 2, 2).permute(0, 2, 3, 1, 4).flatten(0, 1)
        last = state[:, :, -1:]  # (2B, q and p, 1, 2)
        pos = last[:, 0, 0]
        history = torch.cat([state[:, 0] - last[:, 0], state[:, 1]], dim=1)
        batch = torch.arange(num).repeat_interleave(2)
        ones = pos.new_ones(len(pos), 1)
        out = self.net(ones, pos, batch, vectors=history, batch_size=num)
        out = last + out.view(2 * num, 2, NUM, 2)
        return out.view(num, 2, 2, NUM, 2).permute(0, 3, 1, 2, 4).reshape(num, NUM, 8)


class FromMetric(torch.nn.Module):
    """A network on invariants of the first and the last state: what it adds to the last
    one are their vectors, times numbers that it finds."""

    def __init__(self, metric: Tensor, width: int = 32) -> None:
        super().__init__()
        self.embedding = torch.nn.Parameter(torch.eye(8, width))
        self.convs = torch.nn.ModuleList(
            InvariantMetricConv(width, metric, update_pos=False, norm=None)
            for _ in range(2)
        )
        self.head = torch.nn.Linear(width, 4 * NUM)

    def forward(self, x: Tensor) -> Tensor:
        """States (B, 5, 8) of states (B, 5, 8)."""
        num = len(x)
        vectors = x[:, [0, -1]].view(num, 8, 2)
        edges = example_pairs(torch.arange(num).repeat_interleave(8))
        h = self.embedding.repeat(num, 1)
        for conv in self.convs:
            h, _ = conv(h, vectors.flatten(0, 1), edges)
        out = self.head(h).view(num, 8, 4 * NUM).mT @ vectors
        return x[:, -1:] + out.view(num, NUM, 8)


class Plain(torch.nn.Module):
    """An MLP on all numbers."""

    def __init__(self, width: int = 40, depth: int = 2) -> None:
        super().__init__()
        self.mlp = MLP([8 * NUM, *[width] * depth, 8 * NUM], act="relu", norm=None)

    def forward(self, x: Tensor) -> Tensor:
        """States (B, 5, 8) of states (B, 5, 8)."""
        return self.mlp(x.flatten(1)).view(-1, NUM, 8)


class Augmented(Plain):
    """One that is trained on moved orbits, and moved back. Generators are scaled to
    the lengths of rotations by an angle, which is normal with a deviation of 3."""

    def __init__(self, basis: Tensor) -> None:
        super().__init__(32, 3)
        lengths = basis.flatten(1).norm(dim=1).view(-1, 1, 1)
        self.register_buffer("basis", (8**0.5 * basis / lengths).float())

    def forward(self, x: Tensor) -> Tensor:
        """States (B, 5, 8) of states (B, 5, 8)."""
        if not self.training:
            return super().forward(x)
        angle = 3.0 * torch.randn(len(x), len(self.basis))
        algebra = torch.einsum("bc,cij->bij", angle, self.basis)
        moved = super().forward(x @ torch.matrix_exp(algebra).mT)
        return moved @ torch.matrix_exp(-algebra).mT


class Hamiltonian(torch.nn.Module):
    """A network for the potential, integrated from the last state."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = HFC(2, 2, 1, hidden_channels=200, num_layers=2, center=False)

    def forward(self, x: Tensor) -> Tensor:
        """States (B, 5, 8) of states (B, 5, 8)."""
        num = len(x)
        q, p = x[:, -1].view(num, 2, 2, 2).unbind(2)
        path = integrate(
            self.energy,
            x.new_ones(2 * num, 1),
            q.flatten(0, 1),
            p.flatten(0, 1),
            STEP * torch.arange(NUM + 1, dtype=x.dtype),
            torch.arange(num).repeat_interleave(2),
        )
        states = torch.cat([path.pos, path.momentum], dim=2)[:, 1:]
        return states.view(num, 2, NUM, 4).transpose(1, 2).flatten(2)


class Forecast(LightningModule):
    """Adam with a cosine to 0, on the mean square error."""

    def __init__(self, network: torch.nn.Module, steps: int, lr: float) -> None:
        super().__init__()
        self.network, self.steps, self.lr = network, steps, lr

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        """The mean square error."""
        return F.mse_loss(self.network(batch[0]), batch[1])

    def configure_optimizers(self):
        """Of one group of parameters."""
        optimizer = torch.optim.Adam(self.parameters(), self.lr)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        return [optimizer], [{"scheduler": cosine, "interval": "step"}]


def error(
    network: torch.nn.Module,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int,
    lr: float = 3e-3,
) -> float:
    """The test error of a network, trained for some steps."""
    x, y = train
    if isinstance(network, FromNetwork):
        q = x[:, -1].view(-1, 2, 2, 2)[:256, :, 0].flatten(0, 1)
        network.net.calibrate(q, torch.arange(len(q) // 2).repeat_interleave(2))
    loader = DataLoader(TensorDataset(x, y), batch_size, shuffle=True, drop_last=True)
    with quiet():
        trainer = bare_trainer(
            max_steps=steps, accelerator="cpu", gradient_clip_val=1.0
        )
        trainer.fit(Forecast(network, steps, lr), loader)
    network.eval()
    with torch.no_grad():
        return float(F.mse_loss(network(test[0]), test[1]))


def from_group(basis: Tensor, data: Tensor) -> FromNetwork:
    """A network on the group of a basis: the block by which it moves each vector, made
    skew in the metric that it keeps, in the unit of an angle."""
    block = shared_block(basis, 2, data)
    block = clean_basis(block, invariant_metric(block))
    return FromNetwork(MatrixLieGroup.from_basis(2**0.5 * block))


def from_metric(basis: Tensor, data: Tensor) -> FromMetric:
    """A network on the metric that the block of a basis keeps best."""
    return FromMetric(invariant_metric(shared_block(basis, 2, data)).metric.float())


def run(found: dict, save: Callable[[dict], None], args: argparse.Namespace) -> None:
    """Adds what is not there yet of one seed and split: errors, and what was found."""
    split, seed = found["split"], found["seed"]
    train, test = orbits(split, seed, args.root)
    pairs = step_pairs(train, "two bodies")
    data = pairs.points().double()
    windows = [step_pairs(part, "windows", (NUM, NUM)) for part in (train, test)]
    sets = [(w.x, w.y) for w in windows]
    bases = {"true group": pairs.true_basis}
    errors, discovery = found["errors"], found["discovery"]
    for name, method in {"LieGAN": LieGAN, "Augerino+": AugerinoPlus}.items():
        if name in discovery:
            bases[name] = torch.tensor(discovery[name]["basis"], dtype=torch.double)
            continue
        seed_everything(seed, verbose=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it begins anew is in the results
            result = discover(
                method(pairs.representation), pairs, args.discovery_epochs, seed=seed
            )
        bases[name] = result.basis
        discovery[name] = {
            "basis": result.basis.tolist(),
            "coverage": result.score.coverage,
            "angle": result.score.angles[-1],
            "restarts": result.restarts,
            "collapse": result.collapse,
            "seconds": result.seconds,
        }
        print(f"{split}, seed {seed}: {result}", flush=True)
        save(found)
    networks = {"MLP": Plain, "HNN": Hamiltonian}
    networks["LieResNet, true group"] = lambda: FromNetwork(SO2())
    for name, basis in bases.items():
        if name != "true group":
            networks[f"LieResNet, {name}"] = partial(from_group, basis, data)
        networks[f"InvariantMetricConv, {name}"] = partial(from_metric, basis, data)
        networks[f"MLP augmented, {name}"] = partial(Augmented, basis)
    for name, make in networks.items():
        if name in errors:
            continue
        seed_everything(seed, verbose=False)
        try:
            network = make()
            steps = args.steps * (10 if isinstance(network, Plain) else 1)
            value = error(network, *sets, steps, args.batch_size)
        except ValueError as reason:  # no group can be made of it
            errors[name] = None
            print(f"  {name}: {reason}", flush=True)
            save(found)
            continue
        errors[name] = value if math.isfinite(value) else None
        print(f"  {name}: {value:.2e}", flush=True)
        save(found)


def orbits(split: str, seed: int, root: str | None) -> tuple[Tensor, Tensor]:
    """Orbits for training and test."""
    if root is None:
        halves = ("lower", "upper") if split == "half planes" else ("plane", "plane")
        train = two_body_orbits(814, halves[0], 2 * seed)
        return train, two_body_orbits(790, halves[1], 2 * seed + 1)
    train, test = read_two_body(root)
    if split != "half planes":
        together = torch.cat([train, test])
        order = torch.Generator().manual_seed(seed)
        together = together[torch.randperm(len(together), generator=order)]
        train, test = together[: len(train)], together[len(train) :]
    return train, test


def middle(values: list) -> str:
    """The median with the least and the largest; what failed counts as infinite."""
    numbers = sorted(math.inf if v is None else v for v in values)
    if math.isinf(statistics.median(numbers)):
        return "no group"
    low, high = (
        f"{v:.1e}" if v < math.inf else "none" for v in (numbers[0], numbers[-1])
    )
    return f"{statistics.median(numbers):.2e} ({low} to {high})"


def table(results: list[dict]) -> str:
    """Errors and what was found, as Markdown."""
    splits = list(dict.fromkeys(r["split"] for r in results))
    rows = [["test MSE", *splits, "published"], ["---"] * (2 + len(splits))]
    for name in results[0]["errors"]:
        cells = [
            middle([r["errors"][name] for r in results if r["split"] == split])
            for split in splits
        ]
        rows.append([name, *cells, PUBLISHED.get(name, "")])
    lines = ["| " + " | ".join(row) + " |" for row in rows] + [""]
    for split in splits:
        for name in results[0]["discovery"]:
            found = [r["discovery"][name] for r in results if r["split"] == split]
            coverage = sorted(f["coverage"] for f in found)
            restarts = sum(f["restarts"] > 0 for f in found)
            failed = sum(
                f["coverage"] < 0.9 or f["collapse"] is not None for f in found
            )
            angle = statistics.median(f["angle"] for f in found)
            lines.append(
                f"- {name}, {split}: coverage {statistics.median(coverage):.4f} in the "
                f"median ({coverage[0]:.4f} to {coverage[-1]:.4f}), angle {angle:.1f} "
                f"degrees; collapsed and begun anew {restarts} of {len(found)}, not "
                f"found {failed} of {len(found)}"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", help="the authors' orbits, a file .npz")
    parser.add_argument("--output", type=Path, default=Path("runs/two_body"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--splits",
        nargs="+",
        default=["half planes", "random"],
        choices=["half planes", "random"],
    )
    parser.add_argument("--discovery-epochs", type=int, default=60)
    parser.add_argument(
        "--steps",
        type=int,
        default=2000,
        help="of a network; MLPs, which are quick, have ten times as many",
    )
    parser.add_argument("--batch-size", type=int, default=256, help="windows in a step")
    args = parser.parse_args()
    if args.root is not None and not Path(args.root).is_file():
        parser.error(f"--root: there is no file {args.root}")
    args.output.mkdir(parents=True, exist_ok=True)
    results = []
    for seed in args.seeds:
        for split in args.splits:
            file = args.output / f"{split.replace(' ', '_')}-{seed}.json"
            found = dict(split=split, seed=seed, errors={}, discovery={})
            if file.exists():
                found = json.loads(file.read_text())
            run(found, lambda found, to=file: to.write_text(json.dumps(found)), args)
            results.append(found)
    text = table(results)
    (args.output / "results.md").write_text(text)
    bases = {
        name: torch.tensor(found["basis"])
        for name, found in results[0]["discovery"].items()
    }
    plot_basis(bases, args.output / "bases.png")
    print("\n" + text)


if __name__ == "__main__":
    main()
