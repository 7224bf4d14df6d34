"""Learns how particles joined by springs move, and shows what is conserved.

    python examples/springs.py
    python examples/springs.py --networks FC Trivial T2 SO2 SE2 --center 1 0
    python examples/springs.py --networks T2 HOGN FC --train 10 100 1000 --seeds 0 1 2
    python examples/springs.py --networks T2 HOGN --particles 4 8

Each network is trained on rollouts of five states and followed for 500 from the first
states of test systems. A run is one of the command lieconv, with a folder of its own;
what was interrupted goes on where it stopped. Left beside the runs: results.md,
rollouts.png (errors over time), trajectories.png and trajectories.gif (one system);
with several --train data_efficiency.md and .png; with --particles generalisation.md,
the errors on systems of other numbers of particles.

Networks are Trivial, T2, SO2 and SE2 (HLieResNet with that group), F-T2 (FLieResNet),
FC, HFC, OGN, HOGN and VOGN: narrow ones, for a CPU; --published takes the published
widths. The number of epochs is that of published runs with as many training systems n,
sqrt(10^7 / n), unless it is given.
"""

import argparse
import math
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch_geometric.loader import DataLoader

import lieconv_pyg
from lieconv_pyg.cli import Run, RunError, UsageError, fit
from lieconv_pyg.dynamics import Springs, Trajectories
from lieconv_pyg.dynamics.plots import animate, plot_errors, plot_trajectories
from lieconv_pyg.figures import COLOURS, new_figure
from lieconv_pyg.training import dynamics_table

CONFIG = Path(__file__).parent / "configs" / "springs.yaml"
GROUPS = {
    "Trivial": ["Trivial", "--model.network.group.n=2"],
    "T2": ["T", "--model.network.group.n=2"],
    "SO2": ["SO2"],
    "SE2": ["SE2"],
}
NAMES = (*GROUPS, "F-T2", "FC", "HFC", "OGN", "HOGN", "VOGN")
#: Published widths, and those that are taken in their place.
WIDTHS = {"FC": 256, "HFC": 256, "OGN": 256, "HOGN": 256, "VOGN": 512}
NARROW = {"FC": 256, "HFC": 256, "OGN": 128, "HOGN": 128, "VOGN": 128}
#: Published learning rates; 1e-3 for all others.
RATES = {"FC": 1e-2, "HFC": 1e-2, "OGN": 1e-2, "HOGN": 1e-2, "VOGN": 3e-3}
#: Test MSE of HLieResNet with T(2) and 895,000 parameters: reruns of the authors' code
#: by others, medians of three.
PUBLISHED = {10: 1.0e-3, 100: 4.6e-4, 1000: 9.9e-5, 3000: 2.0e-5, 10000: 3.7e-6}


@dataclass(frozen=True)
class Case:
    """What is trained, and on how many systems."""

    network: str
    center: bool
    num_train: int
    seed: int

    @property
    def name(self) -> str:
        """For tables and figures."""
        return self.network if self.center else f"{self.network}, not centred"

    @property
    def folder(self) -> str:
        """Of its run."""
        center = "" if self.center else "-not-centred"
        return f"{self.network}{center}-{self.num_train}-{self.seed}"


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Further arguments go to lieconv, such as --model.recompute true.",
    )
    add = parser.add_argument
    add(
        "--networks", nargs="+", default=["T2", "HOGN", "FC"], help="which of the above"
    )
    add(
        "--center",
        nargs="+",
        type=int,
        default=[1],
        choices=[0, 1],
        help="whether the mean of the positions is subtracted; both for a comparison",
    )
    add("--train", nargs="+", type=int, default=[1000], help="training systems")
    add("--test", type=int, default=2000, help="test systems")
    add("--rollouts", type=int, default=50, help="of test systems")
    add("--epochs", type=int, help="instead of sqrt(10^7 / n)")
    add("--lr", type=float, help="instead of the published ones")
    add("--published", action="store_true", help="published widths")
    add(
        "--particles",
        nargs="+",
        type=int,
        default=[],
        help="numbers of particles of further test systems",
    )
    add("--seeds", nargs="+", type=int, default=[0], help="a run for each")
    add("--data", type=Path, default=Path("data"), help="folder of the trajectories")
    add("--output", type=Path, default=Path("runs/springs"), help="folder of the runs")
    args, rest = parser.parse_known_args()
    for name in args.networks:
        if name not in NAMES:
            parser.error(f"no network is called {name!r}: take {', '.join(NAMES)}")
    fixed = {"FC", "HFC"}.intersection(args.networks)
    if args.particles and fixed:
        names = " and ".join(sorted(fixed))
        parser.error(f"--particles: {names} are for six particles only")
    return args, rest


def network_args(name: str, published: bool) -> list[str]:
    """The network of a name, for the command."""
    if name in GROUPS or name == "F-T2":
        kind = "HLieResNet" if name in GROUPS else "FLieResNet"
        group, *more = GROUPS.get(name, GROUPS["T2"])
        width, layers = (384, 4) if published else (96, 2)
        more = [f"--model.network.group=lieconv_pyg.groups.{group}", *more]
    else:
        kind, width = name, (WIDTHS if published else NARROW)[name]
        layers, more = (4 if name in ("FC", "HFC") else 1), []
    return [
        f"--model.network=lieconv_pyg.dynamics.{kind}",
        *more,
        f"--model.network.hidden_channels={width}",
        f"--model.network.num_layers={layers}",
    ]


def train(case: Case, args: argparse.Namespace, rest: list[str]) -> Run:
    """Trains a network, or goes on with its training."""
    folder = args.output / case.folder
    first = case.num_train == max(args.train) and case.seed == args.seeds[0]
    epochs = args.epochs or math.isqrt(10**7 // case.num_train)
    if (folder / "config.yaml").is_file():
        rest = [*rest, "--ckpt_path=last"]
    return fit(
        [
            f"--config={CONFIG}",
            f"--output={folder}",
            f"--seed_everything={case.seed}",
            f"--data.root={args.data}",
            f"--data.num_systems=[{case.num_train},{min(200, args.test)},{args.test}]",
            f"--data.batch_size={min(200, case.num_train)}",
            f"--data.num_rollouts={args.rollouts if first else 0}",
            f"--trainer.max_epochs={epochs}",
            # Validation is to take no longer than training.
            f"--trainer.check_val_every_n_epoch={max(1, 100 // case.num_train)}",
            f"--model.lr={args.lr or RATES.get(case.network, 1e-3)}",
            *network_args(case.network, args.published),
            f"--model.network.center={'true' if case.center else 'false'}",
            *rest,
        ],
        table=False,
    )


def markdown(rows: list[list[str]]) -> str:
    """A table."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    return "\n".join(lines) + "\n"


def write_rollouts(runs: dict[Case, Run], folder: Path) -> None:
    """What long rollouts show."""
    most = max(case.num_train for case in runs)
    found = {
        case.name: run.test
        for case, run in runs.items()
        if case.num_train == most and run.test.rollouts
    }
    head, *rows = dynamics_table(list(found.values()))
    for row, name in zip(rows, found, strict=False):  # the last is of no network
        row[0] = name
    (folder / "results.md").write_text(markdown([head, *rows]))
    rollouts = {name: test.rollouts for name, test in found.items()}
    first = next(iter(rollouts.values()))
    true = first.true
    learned = {name: r.learned for name, r in rollouts.items()}
    early = {name: pos[:, :101] for name, pos in learned.items()}  # till t = 1
    errors = {name: r.errors for name, r in rollouts.items()}
    plot_errors(errors, folder / "rollouts.png", first.true_errors)
    plot_trajectories(true[:, :101], early, folder / "trajectories.png")
    animate(true, learned, folder / "trajectories.gif")


def write_efficiency(runs: dict[Case, Run], folder: Path) -> None:
    """Test errors over the number of training systems: medians over seeds."""
    errors: dict[str, dict[int, list[float]]] = {}
    for case, run in runs.items():
        by_number = errors.setdefault(case.name, {})
        by_number.setdefault(case.num_train, []).append(run.test.loss)
    numbers = sorted({case.num_train for case in runs})
    rows = [["training systems", *map(str, numbers)]]
    figure = new_figure(6.0, 4.4)
    axes = figure.add_subplot()
    for (name, found), colour in zip(errors.items(), COLOURS * 3, strict=False):
        middle = [statistics.median(found[n]) for n in numbers]
        rows.append([name, *(f"{value:.1e}" for value in middle)])
        axes.loglog(numbers, middle, "o-", color=colour, label=name)
        low, high = ([f(found[n]) for n in numbers] for f in (min, max))
        axes.fill_between(numbers, low, high, color=colour, alpha=0.15, linewidth=0)
    known = {n: mse for n, mse in PUBLISHED.items() if n in numbers}
    label = "T(2), 895,000 parameters, reruns by others"
    axes.loglog(list(known), list(known.values()), "x:", color="0.4", label=label)
    axes.set(xlabel="training systems", ylabel="mean square error of 5 states")
    axes.set_xticks(numbers, [f"{n:,}" for n in numbers])
    axes.minorticks_off()
    axes.grid(True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(folder / "data_efficiency.png")
    (folder / "data_efficiency.md").write_text(markdown(rows))


@torch.no_grad()
def chunk_error(run: Run, particles: int, args: argparse.Namespace) -> float:
    """The mean square error of a trained network on systems of so many particles."""
    module = lieconv_pyg.load(run.checkpoint)
    root = args.data / f"springs-{particles}-particles"
    data = Trajectories(root, Springs(num_particles=particles), "test", args.test)
    total = sum(
        float(module.loss(batch)) * batch.num_graphs for batch in DataLoader(data, 500)
    )
    return total / len(data)


def main() -> None:
    args, rest = parse_args()
    cases = [
        Case(network, bool(center), number, seed)
        for seed in args.seeds
        for number in sorted(args.train, reverse=True)  # the first writes all data
        for center in args.center
        for network in args.networks
    ]
    runs: dict[Case, Run] = {}
    try:
        for case in cases:
            print(f"\n{case.folder}", flush=True)
            runs[case] = train(case, args, rest)
        if args.rollouts:
            write_rollouts(runs, args.output)
        if len(args.train) > 1:
            write_efficiency(runs, args.output)
        if args.particles:
            rows = [["test MSE", "6 particles", *(f"{n}" for n in args.particles)]]
            for case, run in runs.items():
                errors = [run.test.loss]
                errors += [chunk_error(run, n, args) for n in args.particles]
                rows.append([case.name, *(f"{value:.1e}" for value in errors)])
            (args.output / "generalisation.md").write_text(markdown(rows))
    except (UsageError, RunError, OSError, ValueError) as error:
        sys.exit(f"springs: error: {error}")
    for table in sorted(args.output.glob("*.md")):
        print(f"\n{table.read_text()}")
    print(f"figures in {args.output}")


if __name__ == "__main__":
    main()
