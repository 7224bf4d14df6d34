"""Molecular dynamics in ``.npz`` files, as MD17, rMD17 and sGDML have them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from lieconv_pyg.datasets.molecules import Molecules
from lieconv_pyg.datasets.structures import first_line
from lieconv_pyg.datasets.targets import NUM_ELEMENTS, Target, find_name
from lieconv_pyg.datasets.units import check_unit

#: Atomic numbers, positions, energies, forces: MD17 and sGDML, then rMD17.
_KEYS = (("z", "R", "E", "F"), ("nuclear_charges", "coords", "energies", "forces"))


def load_md_file(
    path: str | os.PathLike,
    target: str = "energy",
    unit: str | None = None,
    extensive: bool | None = None,
) -> Molecules:
    r"""Reads the frames of one molecule's dynamics, with energies and forces.

    The file has the arrays :obj:`z` (N), :obj:`R` (M, N, 3) in Ångström, :obj:`E`
    (M) or (M, 1) and, if forces are known, :obj:`F` (M, N, 3) per Ångström, or
    the same as :obj:`nuclear_charges`, :obj:`coords`, :obj:`energies` and
    :obj:`forces`. Parts, such as :obj:`R_train` and :obj:`E_train`, are put one after
    the other, in the order of the file. Frames are called :obj:`frame_17` or, in
    parts, :obj:`train_17`.

    Args:
        path (path): The file.
        target (str, optional): :obj:`"energy"`, all there is.
            (default: :obj:`"energy"`)
        unit (str, optional): Unit of the energies, which must be stated.
        extensive (bool, optional): Whether the energy grows with the number of
            atoms. (default: :obj:`True`)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file or not whole, arrays do not fit together, or
            the unit is not stated.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"dataset {str(path)!r} is neither 'qm9' nor 'g2' nor a file that exists"
        )
    name = find_name(target, ["energy"])
    if not unit:
        raise ValueError(
            f"unit: say in what unit the energies of {path} are, such as 'kcal/mol' "
            "(MD17, rMD17) or 'eV'"
        )
    made = Target(name, unit, True if extensive is None else extensive)
    check_unit(made)
    z, parts = _read(path)
    y = np.concatenate([part.energies for part in parts])
    forces = [part.forces for part in parts if part.forces is not None]
    lacking = len(y) - sum(map(len, forces))
    if not len(y):
        raise ValueError(f"{path} has no structures")
    if forces and lacking:
        warnings.warn(
            f"{lacking} of the {len(y)} structures in {path} have no forces: none are "
            "loaded",
            UserWarning,
            stacklevel=2,
        )
    together = None if lacking else torch.from_numpy(np.concatenate(forces))
    return Molecules(
        torch.from_numpy(z).repeat(len(y)),
        torch.from_numpy(np.concatenate([part.pos for part in parts])).view(-1, 3),
        torch.full((len(y),), len(z)),
        torch.from_numpy(y),
        [frame for part in parts for frame in part.names],
        made,
        source=str(path),
        forces=None if together is None else together.view(-1, 3),
    )


class _Part(NamedTuple):
    """Frames that stand together in a file: (M, N, 3), (M), (M, N, 3)."""

    pos: np.ndarray
    energies: np.ndarray
    forces: np.ndarray | None
    names: list[str]


def _read(path: Path) -> tuple[np.ndarray, list[_Part]]:
    """The atomic numbers and the parts of a file."""
    try:
        with path.open("rb") as stream:
            file: Any = np.load(stream, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise ValueError("it holds a single array")
            there = list(file.files)
            arrays = {k: file[k] for k in there if _wanted(k)}
    except Exception as error:  # NumPy, zip and zlib raise all kinds
        raise ValueError(
            f"{path} is no whole .npz file of plain arrays ({first_line(error)})"
        ) from error
    length = str(arrays.get("r_unit", "n/a"))
    if length.lower() not in {"n/a", "ang", "angstrom"}:
        raise ValueError(f"{path} says that its positions are in {length!r}, not in Å")
    for z_key, *row_keys in _KEYS:
        first = row_keys[0]
        parts = [k.removeprefix(first) for k in arrays if _is(k, first)]
        if z_key in arrays and parts:
            z = _numbers(arrays[z_key], z_key, path)
            return z, [_part(arrays, row_keys, s, len(z), path) for s in parts]
    raise ValueError(
        f"{path} has neither z, R and E nor nuclear_charges, coords and energies. "
        f"There is: {', '.join(there) or 'nothing'}"
    )


def _is(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}_")


def _wanted(key: str) -> bool:
    return key == "r_unit" or any(_is(key, name) for row in _KEYS for name in row)


def _numbers(z: np.ndarray, key: str, path: Path) -> np.ndarray:
    """The atomic numbers, checked."""
    good = z.dtype.kind in "iu" and z.ndim == 1 and len(z) > 0
    if not good or z.min() < 1 or z.max() >= NUM_ELEMENTS:
        raise ValueError(
            f"{key} of {path} must be the atomic numbers of one molecule, integers "
            f"from 1 to 118; got {z.dtype} of shape {z.shape}"
        )
    return z.astype(np.int64)


def _part(
    arrays: Mapping[str, np.ndarray],
    row_keys: Sequence[str],
    suffix: str,
    num_atoms: int,
    path: Path,
) -> _Part:
    """The frames whose keys end with a suffix, checked."""
    pos_key, energy_key, force_key = (key + suffix for key in row_keys)
    if energy_key not in arrays:
        raise ValueError(f"{path} has {pos_key} but no {energy_key}")
    num = len(arrays[pos_key]) if arrays[pos_key].ndim else 0
    shapes: dict[str, tuple[int, ...]] = {
        pos_key: (num, num_atoms, 3),
        energy_key: (num,),
        force_key: (num, num_atoms, 3),
    }
    found = {}
    for key, shape in shapes.items():
        if key not in arrays:
            continue
        array = arrays[key]
        if key == energy_key and array.shape == (num, 1):
            array = array[:, 0]
        if array.shape != shape or array.dtype.kind not in "iuf":
            raise ValueError(
                f"{key} of {path} must be numbers of shape {shape}, got "
                f"{array.dtype} of shape {array.shape}"
            )
        found[key] = array.astype(np.float64)
    title = suffix.lstrip("_") or "frame"
    names = [f"{title}_{i}" for i in range(num)]
    return _Part(found[pos_key], found[energy_key], found.get(force_key), names)
