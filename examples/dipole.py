"""Trains dipole vectors, and shows that they turn with the molecule.

    python examples/dipole.py --data dipoles.extxyz
    python examples/dipole.py --data qm9_mp2_10k.npz

The data are a file with dipoles that ASE reads, or an .npz of flat arrays: num_atoms
(M), z (A), pos (A, 3) in Å, and y (M, F) with the columns y_names, dipole_x, dipole_y
and dipole_z in e*a0 among them. Nothing is downloaded. What is printed last: how far
the dipoles of turned molecules are from their turned dipoles (float64). Further
arguments go to `lieconv fit`, such as --trainer.max_epochs 10.
"""

import argparse
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

import lieconv_pyg
from lieconv_pyg.cli import RunError, UsageError, fit
from lieconv_pyg.datasets import load_molecules
from lieconv_pyg.groups import SO3

CONFIG = Path(__file__).parent / "configs" / "dipole.yaml"


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="dipole vectors")
    parser.add_argument("--output", type=Path, help="folder of the results")
    return parser.parse_known_args()


def from_arrays(path: Path, folder: Path) -> Path:
    """The molecules of an .npz of flat arrays, in a file that ASE reads."""
    with np.load(path) as file:
        arrays = dict(file)
    names = arrays["y_names"].tolist()
    columns = [names.index(f"dipole_{axis}") for axis in "xyz"]
    dipoles = arrays["y"][:, columns] * units.Bohr
    ends = np.cumsum(arrays["num_atoms"])[:-1]
    molecules = []
    for number, (z, pos, dipole) in enumerate(
        zip(
            np.split(arrays["z"], ends),
            np.split(arrays["pos"], ends),
            dipoles,
            strict=True,
        )
    ):
        atoms = Atoms(z, pos, info={"name": f"molecule_{number}"})
        atoms.calc = SinglePointCalculator(atoms, dipole=dipole)
        molecules.append(atoms)
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "dipoles.extxyz", molecules)
    return folder / "dipoles.extxyz"


@torch.no_grad()
def turning_error(path: Path, checkpoint: Path) -> tuple[float, float]:
    """Largest difference between the dipole of a turned molecule and the turned dipole
    of the molecule, and the mean absolute component, over a hundred molecules."""
    model = lieconv_pyg.load(checkpoint).double()
    data = load_molecules(str(path), "dipole")
    generator = torch.Generator().manual_seed(0)
    worst, size = 0.0, []
    for index in range(min(100, len(data))):
        z, pos = data[index].z, data[index].pos.double()
        turn = SO3().sample(1, generator=generator, dtype=torch.float64)[0]
        dipole = model(z, pos) @ turn.T
        worst = max(worst, (model(z, pos @ turn.T) - dipole).abs().max().item())
        size.append(dipole.abs().mean())
    return worst, torch.stack(size).mean().item()


def main() -> None:
    args, rest = parse_args()
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = args.output or Path("runs", f"dipole-{stamp}")
    try:
        if args.data.suffix == ".npz":
            args.data = from_arrays(args.data, folder)
        given = [f"--data.dataset={args.data}", f"--output={folder / 'run'}", *rest]
        run = fit([f"--config={CONFIG}", *given])
        assert run.checkpoint is not None
        worst, size = turning_error(args.data, run.checkpoint)
    except (UsageError, RunError, ValueError, OSError, KeyError) as error:
        sys.exit(f"dipole: error: {error}")
    print(
        f"\nturned molecules: dipoles differ by {worst:.1e} e*Ang at most from the "
        f"turned ones, of {size:.2g} e*Ang in the mean"
    )
    print(f"checkpoint {run.checkpoint}, figures in {folder / 'run'}")


if __name__ == "__main__":
    main()
