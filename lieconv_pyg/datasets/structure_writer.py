"""Structures with predictions, into any format that ASE writes."""

from __future__ import annotations

import os
import shutil
import uuid
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lieconv_pyg.datasets.ase_atoms import require_ase
from lieconv_pyg.datasets.structures import first_line, read_structures
from lieconv_pyg.datasets.units import dipole_factor, energy_factor

Values = dict[str, list[Any]]


def write_structures(
    path: str | os.PathLike,
    atoms: Sequence[Any],
    results: Mapping[str, Any],
    format: str | None = None,
    units: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> bool:
    r"""Writes structures with what was predicted for them.

    Energies, forces and dipoles become the results of a calculator, in ASE's units,
    as :obj:`atoms.get_potential_energy()` and its like return them. Everything else
    goes into :obj:`atoms.info` under its name, with its unit under
    :obj:`<name>_unit`; in databases numbers become key-value pairs, vectors data. What
    the structures had under these names, and results of another calculator where
    there are new ones, are left out. The structures themselves are not changed.

    The file appears whole or not at all.

    Args:
        path (path): The file.
        atoms (sequence of ase.Atoms): The structures, M of them.
        results (mapping of str to arrays): Values by name: :obj:`energy` and
            :obj:`free_energy` (M), :obj:`dipole` (M, 3), any other (M) or (M, 3), and
            :obj:`forces`, (N, 3) for each structure or :math:`(\sum_m N_m, 3)`.
        format (str, optional): ASE's name of the format. (default: by the name)
        units (mapping of str to str, optional): The unit of each.
            (default: eV, eV/Ang and e*Ang; none for others)
        overwrite (bool, optional): Whether a file that exists may be replaced.
            (default: :obj:`False`)

    Returns:
        Whether reading the file back gives the values. Formats such as pdb and cif
        cannot hold them.

    Raises:
        FileExistsError: If the file exists and :obj:`overwrite` is not set.
        FileNotFoundError: If its folder does not exist.
        ValueError: If sizes do not fit, a unit is unknown, or ASE cannot write this.
        ImportError: If ASE is not installed.
    """
    require_ase()
    path = Path(path).expanduser()
    if path.is_dir() or (path.exists() and not overwrite):
        raise FileExistsError(f"{path} exists: name another file, or set overwrite")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}")
    calculated, other = _sort(results, dict(units or {}), [len(a) for a in atoms])
    frames = [_frame(a, i, calculated, other) for i, a in enumerate(atoms)]
    # The name's end stays: ASE tells by it whether to compress.
    temporary = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        found = format or _format(path)
        _write(temporary, frames, found)
        kept = _is_kept(temporary, found, frames, [*calculated, *other])
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)
    return kept


def _sort(
    results: Mapping[str, Any], units: dict[str, str], sizes: list[int]
) -> tuple[Values, Values]:
    """What a calculator has, in ASE's units, and all else with its units."""
    for name in units.keys() - results.keys():
        raise ValueError(f"units has {name!r}, results has not")
    calculated: Values = {}
    other: Values = {}
    for name, given in results.items():
        values = _rows(name, given, sizes)
        unit, vector = units.get(name), name != "forces" and values[0].ndim == 1
        if name == "forces":
            unit = (unit or "eV/Ang").removesuffix("/Å").removesuffix("/Ang")
            calculated[name] = [v * energy_factor(unit) for v in values]
        elif name in {"energy", "free_energy"} and not vector:
            factor = energy_factor(unit or "eV")
            calculated[name] = [float(v) * factor for v in values]
        elif name == "dipole" and vector:
            calculated[name] = [v * dipole_factor(unit or "e*Ang") for v in values]
        else:
            other[name] = values if vector else [float(v) for v in values]
            if unit:
                other[f"{name}_unit"] = [unit] * len(sizes)
    return calculated, other


def _rows(name: str, given: Any, sizes: list[int]) -> list[np.ndarray]:
    """The values of each structure, as float64 arrays."""
    if not sizes:
        raise ValueError("there are no structures to write")
    total = sum(sizes)
    if isinstance(given, torch.Tensor):
        given = given.detach().cpu().numpy()
    if name == "forces":
        rows = [np.asarray(row, dtype=np.float64) for row in given]
        if len(rows) == total and all(row.shape == (3,) for row in rows):
            rows = np.split(np.stack(rows), np.cumsum(sizes)[:-1])
        if [row.shape for row in rows] != [(n, 3) for n in sizes]:
            raise ValueError(
                f"forces must be (N, 3) for each of {len(sizes)} structures"
            )
        return rows
    values = np.asarray(given, dtype=np.float64)
    if values.shape not in {(len(sizes),), (len(sizes), 3)}:
        raise ValueError(
            f"{name} must be of shape ({len(sizes)},) or ({len(sizes)}, 3), one for "
            f"each structure; got {values.shape}"
        )
    return list(values)


def _frame(atoms: Any, index: int, calculated: Values, other: Values) -> Any:
    """A copy of a structure with its values."""
    from ase.calculators.calculator import all_properties
    from ase.calculators.singlepoint import SinglePointCalculator

    frame = atoms.copy()
    results = dict(getattr(atoms.calc, "results", {}))
    if calculated:
        results = {name: rows[index] for name, rows in calculated.items()}
        for name in all_properties:  # else readers would add them to the new ones
            frame.info.pop(name, None)
            frame.arrays.pop(name, None)
    for name in other:
        results.pop(name, None)
    frame.info.update({name: rows[index] for name, rows in other.items()})
    if results:
        frame.calc = SinglePointCalculator(frame, **results)
    return frame


def _format(path: Path) -> str:
    from ase.io.formats import filetype

    try:
        return filetype(str(path), read=False)
    except Exception as error:
        raise ValueError(
            f"{path}: its name does not say in what format to write; end it with "
            ".xyz, .db or .traj, or give format"
        ) from error


def _write(path: Path, frames: list[Any], format: str) -> None:
    from ase.db import connect
    from ase.io import write

    try:
        if format not in {"db", "json"}:
            write(str(path), frames, format=format)
        else:
            with connect(path, type=format, use_lock_file=False) as database:
                for frame in frames:
                    pairs, data = _split(frame.info)
                    database.write(frame, pairs, data)
        if not path.is_file():
            raise ValueError("it is no format of single files")
    except Exception as error:  # ASE's writers raise all kinds
        raise ValueError(
            f"ASE cannot write {len(frames)} structures in the format {format!r} "
            f"({first_line(error)})"
        ) from error


def _split(info: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a database takes as key-value pairs, and what as data."""
    from ase.db.core import check

    pairs, data = {}, {}
    for key, value in info.items():
        try:
            with warnings.catch_warnings():
                # A key that is also a formula (CO) is one that no query can find.
                warnings.simplefilter("error")
                check({key: value})
            pairs[key] = value
        except Exception:
            data[key] = value
    return pairs, data


def _is_kept(path: Path, format: str, frames: list[Any], names: list[str]) -> bool:
    """Whether a file gives back the values."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = read_structures(path, format=format)
        return len(found) == len(frames) and all(
            _same(_all(a).get(name), _all(b).get(name))
            for a, b in zip(found, frames, strict=True)
            for name in names
        )
    except Exception:
        return False


def _all(atoms: Any) -> dict[str, Any]:
    return {**atoms.info, **getattr(atoms.calc, "results", {})}


def _same(found: Any, value: Any) -> bool:
    if isinstance(value, str) or found is None:
        return found == value
    return np.shape(found) == np.shape(value) and np.allclose(
        found, value, rtol=1e-5, atol=1e-5, equal_nan=True
    )
