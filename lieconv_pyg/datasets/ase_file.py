"""Molecules from any file that ASE reads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lieconv_pyg.datasets.ase_atoms import from_atoms, require_ase
from lieconv_pyg.datasets.molecules import Molecules
from lieconv_pyg.datasets.targets import Target, find_name

#: Units of what ASE's calculators return; everything else needs a stated unit.
_ASE_UNITS = {"energy": "eV", "free_energy": "eV", "magmom": "mu_B"}
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
    data of the row. It must be a number. The values are taken as they are;
    :obj:`unit` only says what they are in.

    Structures are isolated molecules, even where the file says that they are
    periodic (there is a warning then).

    Args:
        path (path): The file.
        target (str, optional): Name of the property. (default: :obj:`"energy"`)
        unit (str, optional): Its unit. May be left out for :obj:`energy` and
            :obj:`free_energy` (eV).
        extensive (bool, optional): Whether the property grows with the number
            of atoms. (default: :obj:`True` for energies, else :obj:`False`)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If ASE cannot read the file, the property does not
            exist (the message lists those that do), is not a number, is missing
            for some structures, or has no known unit.
        ImportError: If ASE is not installed.
    """
    require_ase()
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"dataset {str(path)!r} is neither 'qm9' nor 'g2' nor a file that exists"
        )
    atoms, properties = [], []
    try:
        for structure, values in _structures(path):
            atoms.append(structure)
            properties.append(values)
    except Exception as error:  # ASE's readers raise all kinds
        text = str(error).splitlines()
        raise ValueError(
            f"ASE cannot read {path} ({type(error).__name__}: "
            f"{text[0] if text else 'no details'})"
        ) from error
    if not atoms:
        raise ValueError(f"{path} has no structures")

    key = find_name(target, sorted({k for p in properties for k in p}))
    missing = [i for i, p in enumerate(properties) if key not in p]
    if missing:
        raise ValueError(
            f"{len(missing)} of the {len(atoms)} structures in {path} have no number "
            f"{key!r}, the first of them number {missing[0]}: leave them out"
        )
    unit = unit or _ASE_UNITS.get(key)
    if unit is None:
        raise ValueError(f"unit: say in what unit {key!r} of {path} is, such as 'eV'")
    if extensive is None:
        extensive = key in _EXTENSIVE
    return from_atoms(
        atoms,
        torch.tensor([p[key] for p in properties], dtype=torch.float64),
        [_name(a, i) for i, a in enumerate(atoms)],
        Target(key, unit, extensive),
        source=str(path),
    )


def _structures(path: Path) -> Iterator[tuple[Any, dict[str, float]]]:
    """The structures of a file, each with its properties that are numbers."""
    from ase.io import iread
    from ase.io.formats import filetype

    if filetype(str(path)) in {"db", "json"} and _is_database(path):
        from ase.db import connect

        for row in connect(path).select():
            known = ("energy", "free_energy", "magmom")
            values = {k: row[k] for k in known if k in row}
            yield row.toatoms(), _numbers(values, row.data, row.key_value_pairs)
    else:
        for atoms in iread(str(path), index=":"):
            results = getattr(atoms.calc, "results", {})
            yield atoms, _numbers(results, atoms.info)


def _is_database(path: Path) -> bool:
    """A JSON file is a database unless it is not."""
    from ase.db import connect

    try:
        return connect(path).count() > 0
    except Exception:
        return False


def _numbers(*tables: Mapping[str, Any]) -> dict[str, float]:
    """All entries that are one real number; the first table wins."""
    found: dict[str, float] = {}
    for table in tables:
        for key, value in table.items():
            if isinstance(value, np.ndarray) and value.size == 1:
                value = value.item()
            real = isinstance(value, Number) and not isinstance(value, (bool, complex))
            if real and key not in found:
                found[key] = float(value)
    return found


def _name(atoms: Any, index: int) -> str:
    """The structure's own name if it has one, else its formula and number."""
    name = atoms.info.get("name") or atoms.info.get("config_type")
    return str(name) if name else f"{atoms.get_chemical_formula()}_{index}"
