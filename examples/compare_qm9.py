"""Trains networks on the same molecules of QM9 and prints one table.

    python examples/compare_qm9.py --qm9 FOLDER --epochs 60
    python examples/compare_qm9.py --qm9 FOLDER --minutes 10 --targets homo alpha
    python examples/compare_qm9.py --qm9 FOLDER --networks lieconv egnn

All networks have the same molecules, split, units, loss and schedule; what is their own
is in examples/configs. With --minutes each gets as many epochs as fit into that time,
by a first run of two epochs. Nothing is downloaded. Further arguments go to
`lieconv fit` for all of them, such as --data.batch_size 25.
"""

import argparse
import sys
from datetime import datetime
from pathlib import Path

from lieconv_pyg.cli import Run, UsageError, fit
from lieconv_pyg.datasets import QM9_TARGETS, qm9_on_disk, qm9_root

CONFIGS = Path(__file__).parent / "configs"
NETWORKS = ("lieconv", "graph_net", "egnn", "schnet", "dimenet")
#: Published test errors in the units of QM9_TARGETS, with the number of molecules that
#: they were trained on. LieConv: Table 2 of the paper; SchNet: SchNetPack's benchmark;
#: DimeNet++: Table 2 of "Fast and Uncertainty-Aware Directional Message Passing"; EGNN:
#: Table 3 of its paper. The order is that of QM9_TARGETS.
PUBLISHED = {
    "lieconv": (
        100_000,
        [0.032, 0.084, 30, 25, 49, 0.800, 2.280, 19, 19, 24, 22, 0.038],
    ),
    "schnet": (
        100_000,
        [0.021, 0.124, 47, 39, 74, 0.158, 1.616, 12, 12, 12, 13, 0.034],
    ),
    "dimenet": (
        110_000,
        [0.0297, 0.0435, 24.6, 19.5, 32.6, 0.331, 1.21, 6.32, 6.28, 6.53, 7.56, 0.0230],
    ),
    "egnn": (100_000, [0.029, 0.071, 29, 25, 48, 0.106, 1.55, 11, 12, 12, 12, 0.031]),
}


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--qm9", type=Path, help="folder of PyG's QM9")
    parser.add_argument("--output", type=Path, help="folder of the results")
    parser.add_argument("--targets", nargs="+", default=["homo"])
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument(
        "--molecules",
        nargs=3,
        type=int,
        default=[2000, 500, 1500],
        metavar=("TRAIN", "VALID", "TEST"),
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int, default=60)
    length.add_argument("--minutes", type=float, help="for each network and target")
    parser.add_argument(
        "--config", type=Path, default=CONFIGS / "qm9_homo_2000.yaml", help="LieConv's"
    )
    return parser.parse_known_args()


def train(
    args: argparse.Namespace, rest: list[str], target: str, network: str, folder: Path
) -> Run:
    """Trains one network on one target."""
    common = [
        f"--config={args.config}",
        f"--data.root={qm9_root(args.qm9)}",
        f"--data.target={target}",
        f"--data.limit={args.molecules}",
    ]
    if network != "lieconv":
        common.append(f"--config={CONFIGS / network}.yaml")
    elif QM9_TARGETS[target].extensive:
        common.append("--model.network.init_args.pool=sum")
    common += rest
    epochs = args.epochs
    if args.minutes is not None:
        trial = [*common, "--trainer.max_epochs=2", f"--output={folder / 'timing'}"]
        epochs = max(1, int(60 * args.minutes / fit(trial, table=False).epoch_seconds))
    print(f"\n{network} on {target}: {epochs} epochs")
    run = [*common, f"--trainer.max_epochs={epochs}", f"--output={folder / 'run'}"]
    return fit(run, table=False)


def row(network: str, target: str, run: Run) -> list[str]:
    """The line of a network in the table."""
    p = run.predictions
    number, values = PUBLISHED.get(network, (0, []))
    published = dict(zip(QM9_TARGETS, values, strict=False)).get(target)
    return [
        p.model,
        f"{p.num_parameters:,}",
        str(len(run.history)),
        f"{run.epoch_seconds:.1f}",
        p.errors().text()[0],
        "" if published is None else f"{published:g} ({number:,})",
    ]


def table(target: str, runs: dict[str, Run]) -> str:
    """The networks on one target, the best first, as Markdown."""
    unit = QM9_TARGETS[target].unit
    head = ["network", "parameters", "epochs", "s / epoch", f"test MAE ({unit})"]
    rows = [[*head, "published MAE (molecules)"], ["---"] * 6]
    for network in sorted(runs, key=lambda name: runs[name].predictions.mae):
        rows.append(row(network, target, runs[network]))
    first = next(iter(runs.values())).predictions
    for name, error in first.simple().items():
        rows.append([name, "", "", "", error.text()[0], ""])
    title = f"{first.title}, {first.num_train:,} for training"
    return "\n".join([title, "", *(f"| {' | '.join(cells)} |" for cells in rows)])


def main() -> None:
    args, rest = parse_args()
    unknown = [name for name in args.targets if name not in QM9_TARGETS]
    if unknown:
        sys.exit(
            f"compare_qm9: error: {unknown[0]} is none of {', '.join(QM9_TARGETS)}"
        )
    if not qm9_on_disk(args.qm9):
        sys.exit(f"compare_qm9: error: QM9 is not in {qm9_root(args.qm9)}: give --qm9")
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    output = args.output or Path("runs", f"compare-{stamp}")
    tables = []
    try:
        for target in args.targets:
            runs = {
                n: train(args, rest, target, n, output / target / n)
                for n in args.networks
            }
            tables.append(table(target, runs))
            (output / "tables.md").write_text("\n\n".join(tables) + "\n")
            print(f"\n{tables[-1]}")
    except UsageError as error:
        sys.exit(f"compare_qm9: error: {error}")
    print(f"\ntables, checkpoints and figures are in {output}")


if __name__ == "__main__":
    main()
