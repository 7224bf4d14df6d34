"""Trains LieConv and a graph network on real molecules and compares them.

    python examples/demo.py [--output FOLDER] [--epochs N] [--qm9 FOLDER]

Where QM9 is on disk (--qm9, else $LIECONV_QM9_ROOT, else data/QM9) both networks learn
the HOMO energy of 2,000 of its molecules. Else they learn the zero-point vibrational
energy of the 148 molecules of the G2 set, which come with ASE, in about a minute.
Nothing is downloaded. Each network is trained by what `lieconv fit` runs.
"""

import argparse
import sys
from datetime import datetime
from pathlib import Path

from lieconv_pyg.cli import UsageError, fit
from lieconv_pyg.datasets import qm9_on_disk, qm9_root
from lieconv_pyg.training import error_table, learning_curve, parity_plot

CONFIGS = Path(__file__).parent / "configs"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="folder of the results")
    parser.add_argument("--epochs", type=int, help="instead of the configuration's")
    parser.add_argument("--qm9", type=Path, help="folder of PyG's QM9")
    return parser.parse_args()


def run_args(args: argparse.Namespace) -> list[str]:
    """What both trainings have in common."""
    if qm9_on_disk(args.qm9):
        config = CONFIGS / "qm9_homo_2000.yaml"
        common = [f"--config={config}", f"--data.root={qm9_root(args.qm9)}"]
    elif args.qm9 is not None:
        sys.exit(f"demo: error: --qm9: PyG's QM9 is not in the folder {args.qm9}")
    else:
        common = [f"--config={CONFIGS / 'demo.yaml'}"]
    if args.epochs is not None:
        common.append(f"--trainer.max_epochs={args.epochs}")
    return common


def main() -> None:
    args = parse_args()
    common = run_args(args)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = args.output or Path("runs", f"demo-{stamp}")
    baseline = f"--config={CONFIGS / 'graph_net.yaml'}"
    try:
        print("1/2  LieConv")
        lieconv = fit([*common, f"--output={folder / 'lieconv'}"], table=False)
        print("\n2/2  graph network")
        graph_net = fit(
            [*common, baseline, f"--output={folder / 'graph_net'}"], table=False
        )
    except UsageError as error:
        sys.exit(f"demo: error: {error}")

    both = [lieconv.predictions, graph_net.predictions]
    parity, curve = folder / "parity.png", folder / "learning_curve.png"
    parity_plot(both, parity)
    histories = {
        p.model: run.history for p, run in zip(both, (lieconv, graph_net), strict=True)
    }
    learning_curve(histories, lieconv.target, curve, both[0].simple())
    print(f"\n{error_table(both)}\n")
    print(f"parity plot      {parity}")
    print(f"learning curve   {curve}")
    print(f"checkpoint       {lieconv.checkpoint}")


if __name__ == "__main__":
    main()
