"""Classifies rotated digits with each group, trained on rotated and on upright ones.

    python examples/rotmnist.py
    python examples/rotmnist.py --root FOLDER --epochs 10
    python examples/rotmnist.py --groups T2 SE2 --training upright

Without --root on scikit-learn's digits, with it on RotMNIST, made from MNIST where that
is in the folder (see lieconv_pyg.datasets.RotMNIST). Trained on rotated digits, the
networks also rotate them at random; trained on upright ones they do not, so that what
they know of rotations is their group's. All are tested on the same rotated digits.

A run is one of the command lieconv, with a folder of its own; what was interrupted goes
on where it stopped. Left beside the runs: results.md, with the test errors, and
rotations.png: how far class probabilities change when an image is rotated,
interpolation included.

The networks are narrow, for a CPU; further arguments go to lieconv, such as
--model.network.hidden_channels=128.
"""

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from torch import Tensor
from torch_geometric.data import Batch

import lieconv_pyg
from lieconv_pyg.cli import Run, RunError, UsageError, fit
from lieconv_pyg.datasets import PointImages, RotDigits, RotMNIST
from lieconv_pyg.figures import COLOURS, new_figure
from lieconv_pyg.nn.pixel_grid import PixelGrid
from lieconv_pyg.training import ImageDataModule

CONFIGS = Path(__file__).parent / "configs"
GROUPS = {
    "Trivial": ["Trivial", "--model.network.group.n=2"],
    "Tx": ["Tx"],
    "T2": ["T", "--model.network.group.n=2"],
    "SO2": ["SO2", "--model.network.group.alpha=0.2"],
    "RxSO2": ["RxSO2", "--model.network.group.alpha=0.3"],
    "SE2": ["SE2", "--model.network.group.alpha=0.2"],
}
TRAININGS = ("rotated", "upright")
ANGLES = torch.arange(0, 181, 15)


@dataclass(frozen=True)
class Case:
    """What is trained, and on what."""

    group: str
    training: str
    seed: int

    @property
    def folder(self) -> str:
        """Of its run."""
        return f"{self.group}-{self.training}-{self.seed}"


def whole(text: str) -> int:
    """A number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--root", type=Path, help="folder of RotMNIST or MNIST")
    add("--groups", nargs="+", default=list(GROUPS), choices=GROUPS)
    add("--training", nargs="+", default=list(TRAININGS), choices=TRAININGS)
    add("--epochs", type=whole, help="instead of 100 for digits and 10 for RotMNIST")
    add("--seeds", nargs="+", type=int, default=[0], help="a run for each")
    add(
        "--images", type=whole, default=500, help="test images that are rotated further"
    )
    add("--output", type=Path, help="folder of the runs")
    args, rest = parser.parse_known_args()
    kind = "digits" if args.root is None else "rotmnist"
    args.output = args.output or Path("runs") / kind
    return args, rest


def train(case: Case, args: argparse.Namespace, rest: list[str]) -> Run:
    """Trains a network, or goes on with its training."""
    folder = args.output / case.folder
    group, *more = GROUPS[case.group]
    given = [f"--config={CONFIGS / 'digits.yaml'}"]
    epochs = args.epochs or 100
    if args.root is not None:
        given = [
            f"--config={CONFIGS / 'rotmnist_t2.yaml'}",
            f"--data.root={args.root}",
            "--data.num_valid=2000",
            "--trainer.accelerator=cpu",
            "--model.network.hidden_channels=32",
        ]
        epochs = args.epochs or 10
    if case.training == "upright":
        given += ["--data.upright=true", "--model.network.augment=false"]
    if (folder / "config.yaml").is_file():
        rest = [*rest, "--ckpt_path=last"]
    return fit(
        [
            *given,
            f"--output={folder}",
            f"--seed_everything={case.seed}",
            f"--trainer.max_epochs={epochs}",
            f"--model.network.group=lieconv_pyg.groups.{group}",
            *more,
            f"--model.network.num_lifts={2 if case.group == 'SE2' else 1}",
            *rest,
        ],
        table=False,
    )


def test_images(args: argparse.Namespace, run: Run) -> PointImages:
    """The test images as points of a run, upright where they can be had."""
    settings = yaml.safe_load((run.folder / "config.yaml").read_text())["data"]
    to_points = ImageDataModule(**settings).to_points
    if args.root is None:
        return RotDigits(train=False, rotated=False, to_points=to_points)
    source = RotMNIST(args.root, train=False, to_points=to_points)
    if source.source == "official":
        return source
    return RotMNIST(args.root, train=False, rotated=False, to_points=to_points)


@torch.no_grad()
def changes(run: Run, batch: Batch) -> list[float]:
    """How far the class probabilities of images change when they are rotated by each
    angle: the mean total variation, from 0 to 1."""
    network = lieconv_pyg.load(run.checkpoint).network
    size = batch.num_graphs
    pos = batch.pos[: len(batch.pos) // size]
    x = batch.x.view(size, len(pos), -1)
    pixels = PixelGrid.of(pos)

    def probabilities(x: Tensor) -> Tensor:
        return network(x.flatten(0, 1), batch.pos, batch.batch).softmax(1)

    still = probabilities(x)
    found = []
    for angle in ANGLES.deg2rad().tolist():
        moved = probabilities(pixels.rotate(x, torch.full((size,), angle)))
        found.append(float((moved - still).abs().sum(1).mean() / 2))
    return found


def write(runs: dict[Case, Run], args: argparse.Namespace) -> str:
    """Writes the table and the figure of all runs; the table."""
    data = test_images(args, next(iter(runs.values())))
    batch = Batch.from_data_list(list(data[: min(args.images, len(data))]))
    trainings = [name for name in TRAININGS if name in args.training]
    figure = new_figure(4.6 * len(trainings), 4.0)
    panels = figure.subplots(1, len(trainings), sharey=True, squeeze=False)[0]
    rows = {name: [name] for name in args.groups}
    head = ["group"]
    for panel, training in zip(panels, trainings, strict=True):
        head += [f"trained on {training}", "change at 90°", "at 45°"]
        for name, colour in zip(args.groups, COLOURS, strict=False):
            mine = [
                run
                for case, run in runs.items()
                if (case.group, case.training) == (name, training)
            ]
            moved = torch.tensor([changes(run, batch) for run in mine]).mean(0)
            panel.plot(ANGLES, moved, "o-", color=colour, markersize=4, label=name)
            errors = torch.tensor([run.test.error for run in mine])
            spread = mine[0].test.uncertainty if len(mine) == 1 else errors.std()
            digits = 2 if spread < 0.1 else 1
            rows[name] += [
                f"{errors.mean():.{digits}f} ± {spread:.{digits}f} %",
                *(f"{moved[int(angle) // 15]:.3f}" for angle in (90, 45)),
            ]
        panel.set_title(f"trained on {training} digits", fontsize=11)
        panel.set_xlabel("rotation of the image (degrees)")
        panel.set_xticks(range(0, 181, 45))
        panel.grid(True, alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("change of class probabilities")
    panels[0].set_ylim(bottom=0)
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=len(args.groups),
        frameon=False,
    )
    figure.savefig(args.output / "rotations.png")
    lines = [head, ["---"] * len(head), *rows.values()]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    (args.output / "results.md").write_text(table)
    return table


def main() -> None:
    args, rest = parse_args()
    cases = [
        Case(group, training, seed)
        for seed in args.seeds
        for training in args.training
        for group in args.groups
    ]
    runs: dict[Case, Run] = {}
    try:
        for case in cases:
            print(f"\n{case.folder}", flush=True)
            runs[case] = train(case, args, rest)
        print(f"\n{write(runs, args)}\nfigure in {os.fspath(args.output)}")
    except (UsageError, RunError, OSError, ValueError) as error:
        sys.exit(f"rotmnist: error: {error}")


if __name__ == "__main__":
    main()
