"""Molecules with made-up properties, for tests."""

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator


def distorted(name: str, seed: int, size: float = 0.03) -> Atoms:
    """A molecule out of shape, with energy and forces of EMT, and the dipole of
    charges that depend on the elements."""
    atoms = molecule(name)
    rng = np.random.default_rng(seed)
    atoms.positions += rng.normal(scale=size, size=atoms.positions.shape)
    atoms.calc = EMT()
    charges = np.array([{1: 0.4, 6: -0.3, 8: -0.7}[z] for z in atoms.numbers])
    results = {
        "energy": atoms.get_potential_energy(),
        "forces": atoms.get_forces(),
        "dipole": charges @ (atoms.positions - atoms.positions.mean(0)),
    }
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms
