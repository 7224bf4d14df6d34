"""Structures from any file that ASE reads, and as PyG's :obj:`Data` to predict."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from lieconv_pyg.datasets.ase_atoms import require_ase, warn_of_periodic
from lieconv_pyg.datasets.targets import NUM_ELEMENTS

_DATABASES = {"db", "json"}


def read_structures(
    path: str | os.PathLike, index: str | int = ":", format: str | None = None
) -> list[Any]:
    r"""Reads the structures of a file in any of ASE's formats (extxyz, db, traj,
    pdb, …).

    What the file says of them is kept: results of a calculator in
    :obj:`atoms.calc.results`, all else in :obj:`atoms.info`. For databases the
    key-value pairs and the data of each row are put there.

    Args:
        path (path): The file.
        index (str or int, optional): Which ones, as ASE has it: :obj:`":"`,
            :obj:`"-1"`, :obj:`"10:20"`. (default: all)
        format (str, optional): ASE's name of the format. (default: by the file's
            name and contents)

    Returns:
        A list of :obj:`ase.Atoms`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If ASE cannot read it, or it has no structures.
        ImportError: If ASE is not installed.
    """
    require_ase()
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"structures: there is no file {path}")
    try:
        atoms = list(_read(path, str(index), format))
    except Exception as error:  # ASE's readers raise all kinds
        raise ValueError(f"ASE cannot read {path} ({first_line(error)})") from error
    if not atoms:
        which = "" if str(index) == ":" else f" at index {index}"
        raise ValueError(f"{path} has no structures{which}")
    return atoms


def structures_data(atoms: Sequence[Any]) -> list[Data]:
    r"""Structures as :class:`~torch_geometric.data.Data` without a target: :obj:`z`
    (N,), :obj:`pos` (N, 3) in Ångström and :obj:`name`.

    The list goes into a :class:`~torch_geometric.loader.DataLoader` as it is.
    Structures are isolated molecules, even where they are periodic (there is a warning
    then).

    Args:
        atoms (sequence of ase.Atoms): The structures.

    Raises:
        ValueError: If one has no atoms, atoms of unknown elements, or positions that
            are not finite; the message has its name.
    """
    warn_of_periodic(atoms)
    return [_data(a, structure_name(a, i)) for i, a in enumerate(atoms)]


def structure_name(atoms: Any, index: int) -> str:
    """The structure's own name if it has one, else its formula and number."""
    name = atoms.info.get("name") or atoms.info.get("config_type")
    return str(name) if name else f"{atoms.get_chemical_formula()}_{index}"


def first_line(error: Exception) -> str:
    """The kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no details'}"


def _data(atoms: Any, name: str) -> Data:
    if len(atoms) == 0:
        raise ValueError(f"the structure {name!r} has no atoms: leave it out")
    if not 1 <= atoms.numbers.min() <= atoms.numbers.max() < NUM_ELEMENTS:
        raise ValueError(f"the structure {name!r} has atoms of no known element")
    if not np.isfinite(atoms.positions).all():
        raise ValueError(f"the structure {name!r} has NaN or infinite coordinates")
    z = torch.from_numpy(atoms.numbers).to(torch.long)
    pos = torch.from_numpy(atoms.positions).to(torch.get_default_dtype())
    return Data(z=z, pos=pos, name=name)


def _read(path: Path, index: str, format: str | None) -> Iterator[Any]:
    from ase.db import connect
    from ase.io import iread
    from ase.io.formats import filetype, string2index

    found = format or filetype(str(path))
    if found not in _DATABASES or not _is_database(path, found):
        yield from iread(
            str(path), index=index, format=format, do_not_split_by_at_sign=True
        )
        return
    rows = list(connect(path, type=found, use_lock_file=False).select())
    wanted = string2index(index)
    if isinstance(wanted, str):
        raise ValueError(f"index must be a number or a slice, got {index!r}")
    for row in rows[wanted] if isinstance(wanted, slice) else [rows[wanted]]:
        atoms = row.toatoms()
        atoms.info.update(row.data)
        atoms.info.update(row.key_value_pairs)
        yield atoms


def _is_database(path: Path, format: str) -> bool:
    """A JSON file is a database unless it is not."""
    from ase.db import connect

    try:
        return connect(path, type=format, use_lock_file=False).count() > 0
    except Exception:
        return False
