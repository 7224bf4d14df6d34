"""The measured molecules of the G2 set, which come with ASE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lieconv_pyg.datasets.ase_atoms import from_atoms, require_ase
from lieconv_pyg.datasets.molecules import Molecules
from lieconv_pyg.datasets.targets import Target, find_name

#: Properties of :mod:`ase.data.g2`, and the keys that they have there.
G2_TARGETS: Mapping[str, tuple[str, Target]] = {
    target.name: (key, target)
    for key, target in [
        (
            "ZPE",
            Target("ZPE", "kcal/mol", True, "zero-point vibrational energy"),
        ),
        (
            "enthalpy",
            Target("enthalpy", "kcal/mol", True, "enthalpy of formation at 298 K"),
        ),
        (
            "ionization energy",
            Target("ionization_energy", "eV", False, "ionization energy"),
        ),
        (
            "vertical ionization energy",
            Target(
                "vertical_ionization_energy", "eV", False, "vertical ionization energy"
            ),
        ),
    ]
}


def load_g2(target: str) -> Molecules:
    r"""Reads one target of the 162 systems of :obj:`ase.collections.g2`.

    Geometries are computed (MP2/6-31G*); enthalpies of formation and ionization
    energies are measured, zero-point energies scaled from B3LYP. 148 are molecules,
    14 are atoms. Each target is known for a part of them: ZPE and enthalpy
    for the 148 molecules (the atoms' enthalpies are for 0 K and are left out),
    the ionization energy for 54 molecules and the 14 atoms, the vertical one
    for 34 molecules.

    Args:
        target (str): :obj:`"ZPE"`, :obj:`"enthalpy"` (kcal/mol),
            :obj:`"ionization_energy"` or :obj:`"vertical_ionization_energy"` (eV).

    Raises:
        ValueError: If the target does not exist.
        ImportError: If ASE is not installed.
    """
    key, chosen = G2_TARGETS[find_name(target, G2_TARGETS)]
    require_ase()
    from ase.collections import g2
    from ase.data.g2 import data

    table: Any = data
    measured = {n: table[n] for n in g2.names if key in table[n]}
    names = [n for n in measured if chosen.name != "enthalpy" or len(g2[n]) > 1]
    y = torch.tensor([measured[name][key] for name in names], dtype=torch.float64)
    atoms = [g2[name] for name in names]
    return from_atoms(atoms, y, names, chosen, source="ase.collections.g2")
