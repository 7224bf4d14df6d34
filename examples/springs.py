"""Learns how particles joined by springs move, and shows what is conserved.

    python examples/springs.py
    python examples/springs.py --networks T2 SE2 HOGN --train 3000 --epochs 100
    python examples/springs.py --networks FC Trivial T2 SO2 SE2 --center 0 1

Each network is trained on rollouts of five states and followed for 500 from the first
states of test systems. Left in the folder: rollouts.png (errors over time),
trajectories.png and trajectories.gif (one system), and results.md, a table with the
error of the test chunks, of the rollouts, and the relative rates at which linear and
angular momentum change, in double precision, whatever the integrator. Networks are
Trivial, T2, SO2 and SE2 (HLieResNet with that group), F-T2 (FLieResNet), FC, HFC, OGN,
HOGN and VOGN; narrow ones by default, for a CPU; --published takes the published
widths.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from torch_geometric.data import Batch

from lieconv_pyg.dynamics import (
    FC,
    HFC,
    HOGN,
    OGN,
    VOGN,
    ConservationReport,
    Dynamics,
    FLieResNet,
    HLieResNet,
    RolloutErrors,
    Springs,
    Trajectories,
    conservation_report,
    rollout,
    rollout_errors,
)
from lieconv_pyg.dynamics.plots import animate, plot_errors, plot_trajectories
from lieconv_pyg.groups import SE2, SO2, T, Trivial
from lieconv_pyg.training import (
    DivergenceError,
    DynamicsDataModule,
    DynamicsModule,
    RunProgress,
    quiet,
)

GROUPS = {"Trivial": Trivial(2), "T2": T(2), "SO2": SO2(), "SE2": SE2()}
NAMES = (*GROUPS, "F-T2", "FC", "HFC", "OGN", "HOGN", "VOGN")
#: Published learning rates; those of the LieResNets with other groups than SO(2) 1e-3.
RATES = {"FC": 3e-3, "HFC": 1e-2, "OGN": 1e-2, "HOGN": 1e-2, "VOGN": 3e-3, "SO2": 3e-4}


@dataclass
class Result:
    """What was found of a network."""

    num_params: int
    loss: float
    errors: RolloutErrors
    pos: torch.Tensor  # along the rollout of the first system
    report: ConservationReport


def build(name: str, center: bool, published: bool) -> Dynamics:
    """A network by its name."""
    if name in GROUPS or name == "F-T2":
        size = {} if published else {"hidden_channels": 96, "num_layers": 2}
        kind: Callable[..., Dynamics] = HLieResNet if name in GROUPS else FLieResNet
        return kind(GROUPS.get(name, T(2)), center=center, **size)
    if name in ("FC", "HFC"):
        return {"FC": FC, "HFC": HFC}[name](center=center)
    classes = {"OGN": OGN, "HOGN": HOGN, "VOGN": VOGN}
    size = {} if published else {"hidden_channels": 128}
    return classes[name](center=center, **size)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=["T2", "HOGN", "FC"])
    parser.add_argument("--center", nargs="+", type=int, default=[1], choices=[0, 1])
    parser.add_argument("--train", type=int, default=1000, help="training systems")
    parser.add_argument("--test", type=int, default=2000, help="test systems")
    parser.add_argument("--rollouts", type=int, default=50, help="of test systems")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--lr", type=float, help="instead of the published ones")
    parser.add_argument("--published", action="store_true", help="published widths")
    parser.add_argument("--recompute", action="store_true", help="in less memory")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("data/springs"))
    parser.add_argument("--output", type=Path, default=Path("runs/springs"))
    args = parser.parse_args()
    for name in args.networks:
        if name not in NAMES:
            parser.error(f"no network is called {name!r}: take {', '.join(NAMES)}")
    return args


def train(name: str, center: bool, args: argparse.Namespace) -> tuple[Dynamics, float]:
    """A trained network, and its error on test chunks."""
    seed_everything(args.seed, verbose=False)
    network = build(name, center, args.published)
    module = DynamicsModule(
        network, args.lr or RATES.get(name, 1e-3), recompute=args.recompute
    )
    data = DynamicsDataModule(
        root=str(args.data / f"{args.train}-{args.test}"),
        num_systems=(args.train, min(200, args.test), args.test),
        batch_size=min(200, args.train),
    )
    with quiet():
        trainer = Trainer(
            max_epochs=args.epochs,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            inference_mode=False,  # forces are gradients
            callbacks=[RunProgress()],
        )
        trainer.fit(module, data)
        (found,) = trainer.test(module, data, verbose=False)
    return network, found["test/loss"]


def follow(network: Dynamics, loss: float, batch: Batch) -> Result:
    """Long rollouts in double precision."""
    network = network.cpu().double().eval()
    state = batch.x, batch.pos[:, 0], batch.momentum[:, 0]
    times = torch.linspace(0, 1, 21, dtype=torch.double)
    path = rollout(network, batch)
    return Result(
        sum(p.numel() for p in network.parameters()),
        loss,
        rollout_errors(path, Springs(), batch),
        path.pos[batch.batch == 0],
        conservation_report(network, *state, times, batch.batch),
    )


def table(results: dict[str, Result]) -> str:
    """A row for each network, in Markdown."""
    lines = [
        "| network | parameters | test MSE | error at t = 1 | at the end | "
        "rate of P | rate of L | diverged |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, r in results.items():
        kept = r.report.quantities
        linear = max(k.rate for q, k in kept.items() if q[0] == "P")
        angular = max(k.rate for q, k in kept.items() if q[0] == "L")
        middle = r.errors.state.nanmedian(0).values
        out = int((~r.errors.diverged_at.isnan()).sum())
        lines.append(
            f"| {name} | {r.num_params:,} | {r.loss:.2e} | {middle[100]:.2g} | "
            f"{middle[-1]:.2g} | {linear:.0e} | {angular:.0e} | "
            f"{out} of {r.errors.diverged_at.numel()} |"
        )
    return "\n".join(lines)


def main() -> None:
    args = parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    results: dict[str, Result] = {}
    try:
        test = Trajectories(
            *(args.data / "rollouts", Springs(), "test", args.rollouts), chunk=None
        )
        batch = Batch.from_data_list(list(test))
        for center in args.center:
            for name in args.networks:
                shown = name if center else f"{name}, not centred"
                print(shown, flush=True)
                results[shown] = follow(*train(name, bool(center), args), batch)
    except (ValueError, RuntimeError, OSError, DivergenceError) as error:
        sys.exit(f"springs: error: {error}")
    (args.output / "results.md").write_text(f"{table(results)}\n")
    first = batch.get_example(0).pos
    ways = {name: r.pos for name, r in results.items()}
    plot_errors({n: r.errors for n, r in results.items()}, args.output / "rollouts.png")
    early = {name: way[:, :101] for name, way in ways.items()}  # till t = 1
    plot_trajectories(first[:, :101], early, args.output / "trajectories.png")
    animate(first, ways, args.output / "trajectories.gif")
    print(f"\n{table(results)}\n\nfigures in {args.output}")


if __name__ == "__main__":
    main()
