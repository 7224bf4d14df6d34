"""Trains an energy with its forces, then runs NVE dynamics with the trained model.

    python examples/md17.py --data ethanol.npz --unit eV
    python examples/md17.py --data MD17/raw/md17_ethanol.npz --unit kcal/mol
    python examples/md17.py --data ethanol.npz --unit eV --ckpt_path RUN/best.ckpt

The data are a file as PyG's MD17 and rMD17 have them, or anything with energies and
forces that ASE reads. Nothing is downloaded. With --ckpt_path nothing is trained.
What is printed last: how far the forces are from finite differences of the energy
(float64), and the drift of the total energy in the dynamics. Further arguments go to
`lieconv fit`, such as --trainer.max_epochs 10.
"""

import argparse
import csv
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.md.velocitydistribution import Stationary
from ase.md.verlet import VelocityVerlet
from matplotlib.figure import Figure

from lieconv_pyg.calculator import LieConvCalculator
from lieconv_pyg.cli import RunError, UsageError, fit
from lieconv_pyg.datasets import load_molecules

CONFIG = Path(__file__).parent / "configs" / "md17.yaml"


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="energies and forces")
    parser.add_argument("--unit", help="of the energies, where the file does not say")
    parser.add_argument("--output", type=Path, help="folder of the results")
    parser.add_argument("--ckpt_path", type=Path, help="a trained model")
    parser.add_argument("--steps", type=int, default=2000, help="of the dynamics")
    parser.add_argument("--timestep", type=float, default=0.5, help="in fs")
    parser.add_argument("--temperature", type=float, default=300.0, help="in K")
    return parser.parse_known_args()


def train(args: argparse.Namespace, folder: Path, rest: list[str]) -> Path:
    """Trains on the data; the checkpoint."""
    given = [f"--data.dataset={args.data}", f"--output={folder}"]
    given.append(f"--data.unit={args.unit or 'null'}")
    run = fit([f"--config={CONFIG}", *given, *rest])
    assert run.checkpoint is not None
    return run.checkpoint


def force_error(atoms: Atoms, step: float = 1e-4) -> float:
    """Largest difference of a force from finite differences of the energy, in eV/Å."""
    forces, worst = atoms.get_forces(), 0.0
    positions = atoms.positions.copy()
    for atom, axis in np.ndindex(*positions.shape):
        energies = []
        for shift in (step, -step):
            atoms.positions = positions
            atoms.positions[atom, axis] += shift
            energies.append(atoms.get_potential_energy())
        slope = (energies[0] - energies[1]) / (2 * step)
        worst = max(worst, abs(slope + forces[atom, axis]))
    atoms.positions = positions
    return worst


def dynamics(atoms: Atoms, args: argparse.Namespace, folder: Path) -> list[list[float]]:
    """NVE dynamics: time (fs), total, potential and kinetic energy (eV) by step."""
    rng = np.random.default_rng(0)
    mass = atoms.get_masses()[:, None]
    spread = np.sqrt(mass * units.kB * args.temperature)  # Maxwell and Boltzmann's
    atoms.set_momenta(spread * rng.normal(size=atoms.positions.shape))
    Stationary(atoms)
    rows: list[list[float]] = []

    def note() -> None:
        potential, kinetic = atoms.get_potential_energy(), atoms.get_kinetic_energy()
        time = len(rows) * args.timestep
        rows.append([time, potential + kinetic, potential, kinetic])

    md = VelocityVerlet(
        atoms,
        args.timestep * units.fs,
        trajectory=str(folder / "nve.traj"),
        loginterval=10,
    )
    md.attach(note)
    md.run(args.steps)
    with (folder / "nve.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        names = ("total energy", "potential energy", "kinetic energy")
        writer.writerow(["time (fs)", *(f"{name} (eV)" for name in names)])
        writer.writerows([f"{value:.10g}" for value in row] for row in rows)
    return rows


def plot(rows: list[list[float]], num_atoms: int, path: Path) -> None:
    """Kinetic energy and the error of the total energy over time, per atom."""
    time, total, _, kinetic = 1000 * np.array(rows).T / num_atoms
    time = time * num_atoms / 1e6  # fs to ps
    figure = Figure(figsize=(6, 4.2), layout="constrained", dpi=150)
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot(time, kinetic, color="#d9822b", linewidth=0.7)
    upper.set_ylabel("kinetic energy\n(meV / atom)")
    lower.plot(time, total - total[0], color="#1f5fa8", linewidth=0.7)
    lower.set_ylabel("change of the total\nenergy (meV / atom)")
    lower.set_xlabel("time (ps)")
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def report(args: argparse.Namespace, folder: Path, checkpoint: Path) -> None:
    """Forces against differences, dynamics, and what came out."""
    frame = load_molecules(str(args.data), "energy", unit=args.unit)[0]
    atoms = Atoms(numbers=frame.z.numpy(), positions=frame.pos.double().numpy())
    atoms.calc = LieConvCalculator(checkpoint, dtype=torch.float64)
    error = force_error(atoms)
    rows = np.array(dynamics(atoms, args, folder))
    plot(rows.tolist(), len(atoms), folder / "nve.png")
    picoseconds = rows[-1, 0] / 1000
    change = 1000 * (rows[:, 1] - rows[0, 1]) / len(atoms)
    slope = np.polyfit(rows[:, 0] / 1000, change, 1)[0]
    print(f"\nforces against finite differences: {error:.1e} eV/Å at most")
    print(
        f"NVE, {picoseconds:g} ps in steps of {args.timestep:g} fs from "
        f"{args.temperature:g} K: energy drift {slope:.2g} meV/ps per atom, at most "
        f"{np.abs(change).max():.2g} meV per atom from its beginning"
    )
    print(f"checkpoint {checkpoint}, figures and dynamics in {folder}")


def main() -> None:
    args, rest = parse_args()
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = args.output or Path("runs", f"md17-{stamp}")
    try:
        checkpoint = args.ckpt_path or train(args, folder, rest)
        folder.mkdir(parents=True, exist_ok=True)
        report(args, folder, checkpoint)
    except (UsageError, RunError, ValueError, OSError) as error:
        sys.exit(f"md17: error: {error}")


if __name__ == "__main__":
    main()
