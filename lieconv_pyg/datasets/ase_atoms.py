"""From ASE's :obj:`Atoms` to :class:`Molecules`."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lieconv_pyg.datasets.molecules import Molecules
from lieconv_pyg.datasets.targets import Target


def require_ase() -> None:
    """Raises an :obj:`ImportError` with the remedy where ASE is not installed."""
    if importlib.util.find_spec("ase") is None:
        raise ImportError(
            "this dataset is read by ASE, which is not installed: pip install ase"
        )


def warn_of_periodic(atoms: Sequence[Any], source: str = "") -> None:
    """Warns where structures are periodic: their images are not looked at."""
    periodic = sum(bool(a.pbc.any()) for a in atoms)
    if periodic:
        where = f" in {source}" if source else ""
        warnings.warn(
            f"{periodic} of the {len(atoms)} structures{where} are periodic. They "
            "are treated as isolated molecules: atoms do not see neighbours across "
            "the cell's faces. Set pbc to False in the file if that is meant",
            UserWarning,
            stacklevel=4,
        )


def from_atoms(
    atoms: Sequence[Any],
    y: Tensor,
    names: Sequence[str],
    target: Target,
    source: str = "",
    forces: Sequence[Any] | None = None,
) -> Molecules:
    r"""Puts ASE's atoms together.

    Periodic images are not looked at: every structure is an isolated molecule.
    Where a structure is periodic a warning says so.

    Args:
        atoms (sequence of ase.Atoms): The structures, positions in Ångström.
        y (Tensor): The value of the target for each.
        names (sequence of str): A name for each.
        target (Target): What :obj:`y` is.
        source (str, optional): Where they come from, for messages.
        forces (sequence of arrays, optional): The forces (N, 3) of each, in
            :obj:`target.unit` per Ångström. (default: :obj:`None`)

    Raises:
        ValueError: If there are no structures, or one is faulty (see
            :class:`Molecules`).
    """
    if len(atoms) == 0:
        raise ValueError(f"{source or 'the dataset'} has no structures")
    warn_of_periodic(atoms, source)
    together = None
    if forces is not None:
        together = torch.from_numpy(np.concatenate(forces).astype(np.float64))
    return Molecules(
        torch.from_numpy(np.concatenate([a.numbers for a in atoms])),
        torch.from_numpy(np.concatenate([a.positions for a in atoms])),
        torch.tensor([len(a) for a in atoms]),
        y,
        names,
        target,
        source=source,
        forces=together,
    )
