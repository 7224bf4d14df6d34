"""Molecules from any file that ASE reads."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lieconv_pyg.datasets.ase_atoms import from_atoms, require_ase
from lieconv_pyg.datasets.molecules import Molecules
from lieconv_pyg.datasets.structures import read_structures, structure_name
from lieconv_pyg.datasets.targets import Target, find_name
from lieconv_pyg.datasets.units import DIPOLE_UNIT, check_unit

#: Units of what ASE's calculators return; everything else needs a stated unit.
_ASE_UNITS = {
    "energy": "eV",
    "free_energy": "eV",
    "magmom": "mu_B",
    "dipole": DIPOLE_UNIT,
}
#: What calculators return for each atom: no vectors, even where there are 3 atoms.
_BY_ATOM = {"charges", "energies", "magmoms"}
_EXTENSIVE = {"energy", "free_energy"}


def load_ase_file(
    path: str | os.PathLike,
    target: str = "energy",
    unit: str | None = None,
    extensive: bool | None = None,
) -> Molecules:
    r"""Reads structures and one property from a file (extxyz, db, traj, …).

    The property is looked for among the calculator's results, in
    :obj:`atoms.info`, and, for ASE databases, among the key-value pairs and the
    data of the row. It must be a number or a vector of 3 components. The values are
    taken as they are; :obj:`unit` only says what they are in.

    With :obj:`energy` and :obj:`free_energy`, forces are loaded if every structure has
    them, among the calculator's results or in :obj:`atoms.arrays`; they must be in
    :obj:`unit` per Ångström. Where some structures lack them, a warning says so and
    none are loaded.

    Structures are isolated molecules, even where the file says that they are
    periodic (there is a warning then).

    Args:
        path (path): The file.
        target (str, optional): Name of the property. (default: :obj:`"energy"`)
        unit (str, optional): Its unit. May be left out for :obj:`energy` and
            :obj:`free_energy` (eV) and :obj:`dipole` (e*Ang).
        extensive (bool, optional): Whether the property grows with the number
            of atoms. (default: :obj:`True` for energies, else :obj:`False`)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If ASE cannot read the file, the property does not
            exist (the message lists those that do), is neither a number nor a
            vector, is missing for some structures, or has no known unit.
        ImportError: If ASE is not installed.
    """
    require_ase()
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"dataset {str(path)!r} is neither 'qm9' nor 'g2' nor a file that exists"
        )
    atoms = read_structures(path)
    key, y = _property(atoms, target, path)
    unit = unit or _ASE_UNITS.get(key)
    if unit is None:
        raise ValueError(f"unit: say in what unit {key!r} of {path} is, such as 'eV'")
    if extensive is None:
        extensive = key in _EXTENSIVE
    size = 1 if y.ndim == 1 else 3
    made = Target(key, unit, extensive, num_components=size)
    check_unit(made)
    has_forces = key in _EXTENSIVE and size == 1
    return from_atoms(
        atoms,
        torch.from_numpy(y),
        [structure_name(a, i) for i, a in enumerate(atoms)],
        made,
        source=str(path),
        forces=_forces(atoms, path) if has_forces else None,
    )


def _property(atoms: Sequence[Any], target: str, path: Path) -> tuple[str, np.ndarray]:
    """The property's name in the file, and its values: (M) or (M, 3)."""
    tables = [_values(a) for a in atoms]
    good = {key for table in tables for key, value in table.items() if _fits(value)}
    try:
        key = find_name(target, sorted(good))
    except ValueError as error:
        other = [table[target] for table in tables if target in table]
        if not other:
            raise
        shape = getattr(other[0], "shape", ())
        kind = f"an array of shape {shape}" if shape else f"a {type(other[0]).__name__}"
        raise ValueError(
            f"{target!r} of {path} is {kind}: a target is a number or a vector of 3. "
            f"There is: {', '.join(sorted(good)) or 'none'}"
        ) from error
    missing = [i for i, table in enumerate(tables) if not _fits(table.get(key))]
    if missing:
        raise ValueError(
            f"{len(missing)} of the {len(atoms)} structures in {path} have no number "
            f"{key!r}, the first of them number {missing[0]}: leave them out"
        )
    values = [_plain(table[key]) for table in tables]
    if len({value.shape for value in values}) > 1:
        raise ValueError(
            f"{key!r} is a number for some structures in {path} and a vector for others"
        )
    return key, np.stack(values)


def _values(atoms: Any) -> dict[str, Any]:
    """What is known of a structure; a calculator's results come first."""
    results = getattr(atoms.calc, "results", {})
    return {**atoms.info, **{k: v for k, v in results.items() if k not in _BY_ATOM}}


def _plain(value: Any) -> np.ndarray:
    array = np.asarray(value, dtype=np.float64)
    return array.reshape(()) if array.size == 1 else array


def _fits(value: Any) -> bool:
    """Whether a value is one real number, or three in a row."""
    if isinstance(value, (list, tuple)) and all(isinstance(v, Real) for v in value):
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "iuf" and (value.shape == (3,) or value.size == 1)
    return isinstance(value, Real) and not isinstance(value, bool)


def _forces(atoms: Sequence[Any], path: Path) -> list[np.ndarray] | None:
    """The forces of each structure, if all have them."""
    forces = []
    for a in atoms:
        found = getattr(a.calc, "results", {}).get("forces", a.arrays.get("forces"))
        if found is not None:
            forces.append(np.asarray(found, dtype=np.float64))
    if 0 < len(forces) < len(atoms):
        warnings.warn(
            f"{len(atoms) - len(forces)} of the {len(atoms)} structures in {path} have "
            "no forces: none are loaded",
            UserWarning,
            stacklevel=3,
        )
    return forces if forces and len(forces) == len(atoms) else None
