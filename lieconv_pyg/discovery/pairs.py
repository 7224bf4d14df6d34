"""Data whose symmetry is looked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lieconv_pyg.discovery.spans import matrices
from lieconv_pyg.groups.checks import positive

Y_TYPES = ("vectors", "scalars", "labels")


@dataclass(frozen=True)
class Representation:
    r"""How a group of matrices of size :math:`n` acts on pairs :math:`(x, y)`: on each
    vector of :math:`x` alike, and on :math:`y` alike or not at all.

    Args:
        size (int): The size :math:`n` of the matrices.
        x_vectors (int): Vectors of :math:`x`, such as particles or times.
        y_type (str): :obj:`"vectors"`, on which the group acts (equivariance);
            :obj:`"scalars"`, numbers that stay as they are (invariance); or
            :obj:`"labels"` of classes, which do so too.
        y_size (int): The number of vectors, numbers or classes.
        mask (sequence of sequences of float, optional): Entries :math:`(n, n)` of the
            generators that are searched: 0 where they are zero. By default all are.

    Raises:
        ValueError: If a number is not positive, :obj:`y_type` is unknown, or the mask
            has another shape or only zeros.
    """

    size: int = 0  # which is none: configurations take that of the data
    x_vectors: int = 1
    y_type: str = "vectors"
    y_size: int = 1
    mask: Sequence[Sequence[float]] | None = None

    def __post_init__(self) -> None:
        for name in ("size", "x_vectors", "y_size"):
            positive(getattr(self, name), name)
        if self.y_type not in Y_TYPES:
            raise ValueError(
                f"'y_type' must be one of {', '.join(Y_TYPES)}, got {self.y_type!r}"
            )
        mask = self.mask_tensor()
        if mask.shape != (self.size, self.size) or not bool(mask.any()):
            raise ValueError(
                f"'mask' must have shape ({self.size}, {self.size}) and entries other "
                f"than 0, got shape {tuple(mask.shape)}"
            )

    def mask_tensor(self) -> Tensor:
        """The mask :math:`(n, n)`, of zeros and ones."""
        if self.mask is None:
            return torch.ones(self.size, self.size)
        return (torch.tensor(self.mask, dtype=torch.double) != 0).float()

    def units(self) -> Tensor:
        """The matrices :math:`(m, n, n)` with one entry, 1, where the mask has one."""
        mask = self.mask_tensor().flatten()
        return torch.diag(mask)[mask != 0].view(-1, self.size, self.size)

    def act(self, g: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        r"""The pairs :math:`(g x, g y)`.

        Args:
            g: An element for each pair, :math:`(B, n, n)`.
            x: :math:`(B, k, n)`.
            y: :math:`(B, l, n)`, numbers :math:`(B, m)` or labels :math:`(B)`.
        """
        return x @ g.mT, y @ g.mT if self.y_type == "vectors" else y


class SymmetryPairs(Dataset[tuple[Tensor, Tensor]]):
    r"""Pairs :math:`(x, y)`, and how a group acts on them.

    Args:
        x: Vectors :math:`(N, k, n)`, or one each :math:`(N, n)`.
        y: Alike, numbers :math:`(N, m)` or :math:`(N)`, or labels :math:`(N)` of type
            :obj:`torch.long`, of classes counted from 0.
        y_type: Which of these, see :class:`Representation`.
        mask: Entries :math:`(n, n)` of the generators that are searched. By default
            all are.
        true_basis: The generators :math:`(d, n, n)` of the true symmetry, if it is
            known, to judge by.
        name: Of the data.

    Raises:
        TypeError: If vectors or numbers are not floating point, or labels not integers.
        ValueError: If shapes do not fit, there are no pairs, entries are infinite or
            NaN, or labels are negative.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        y_type: str = "vectors",
        mask: Tensor | None = None,
        true_basis: Tensor | None = None,
        name: str = "pairs",
    ) -> None:
        self.x = _vectors(x, "x")
        size = self.x.size(2)
        if y_type == "vectors":
            self.y = _vectors(y, "y")
            if self.y.size(2) != size:
                raise ValueError(
                    f"'x' has vectors of {size} entries, 'y' of {self.y.size(2)}"
                )
            y_size = self.y.size(1)
        elif y_type == "labels":
            self.y = _labels(y)
            y_size = int(y.max()) + 1
        else:
            one_each = isinstance(y, Tensor) and y.dim() == 1
            self.y = _finite(y.unsqueeze(1) if one_each else y, "y", 2)
            y_size = self.y.size(1)
        if len(self.x) != len(self.y):
            raise ValueError(f"'x' has {len(self.x)} rows, 'y' has {len(self.y)}")
        searched = None if mask is None else mask.tolist()
        self.representation = Representation(
            size, self.x.size(1), y_type, y_size, searched
        )
        if true_basis is not None:
            true_basis = matrices(true_basis, "true_basis")
            if true_basis.size(1) != size:
                raise ValueError(
                    f"'true_basis' must have shape (d, {size}, {size}), got "
                    f"{tuple(true_basis.shape)}"
                )
        self.true_basis = true_basis
        self.name = name

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]

    def points(self) -> Tensor:
        """All vectors that the group acts on :math:`(N, n)`."""
        parts = [self.x.flatten(0, 1)]
        if self.representation.y_type == "vectors":
            parts.append(self.y.flatten(0, 1))
        return torch.cat(parts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self)})"


def read_pairs(path: str | os.PathLike[str], y_type: str = "vectors") -> SymmetryPairs:
    r"""Pairs of your own from a file.

    Args:
        path: A file ``.npz`` with arrays ``x`` and ``y``, and ``mask`` and
            ``true_basis`` if there are any, as :class:`SymmetryPairs` takes them.
        y_type: What ``y`` is, see :class:`Representation`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has no such arrays, or they do not fit.
    """
    try:
        with np.load(path) as file:
            arrays = {name: torch.from_numpy(file[name]) for name in file.files}
        x, y = arrays["x"], arrays["y"]
    except (KeyError, EOFError, TypeError, ValueError, BadZipFile) as error:
        raise ValueError(f"{path} has no pairs of arrays x and y: {error}") from error
    if y_type == "labels" and not y.is_floating_point():
        y = y.long()
    given = arrays.get("mask"), arrays.get("true_basis")
    try:
        return SymmetryPairs(x, y, y_type, *given, name=Path(path).stem)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _finite(value: Tensor, name: str, dim: int) -> Tensor:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise TypeError(f"'{name}' must be a floating-point tensor")
    if value.dim() != dim or value.numel() == 0:
        raise ValueError(
            f"'{name}' must have {dim} dimensions and entries, got shape "
            f"{tuple(value.shape)}"
        )
    if not bool(value.isfinite().all()):
        raise ValueError(f"'{name}' has infinite or NaN entries")
    return value


def _vectors(value: Tensor, name: str) -> Tensor:
    if isinstance(value, Tensor) and value.dim() == 2:
        value = value.unsqueeze(1)
    if name == "y" and isinstance(value, Tensor) and value.dim() == 1:
        raise ValueError(
            "vectors 'y' must have shape (N, k, n) or (N, n), got "
            f"{tuple(value.shape)}: for numbers give y_type 'scalars', for classes "
            "'labels'"
        )
    return _finite(value, name, 3)


def _labels(y: Tensor) -> Tensor:
    if not isinstance(y, Tensor) or y.dtype != torch.long:
        found = y.dtype if isinstance(y, Tensor) else type(y).__name__
        raise TypeError(f"labels 'y' must be a tensor of torch.long, got {found}")
    if y.dim() != 1 or y.numel() == 0:
        raise ValueError(f"labels 'y' must have shape (N,), got {tuple(y.shape)}")
    if int(y.min()) < 0:
        raise ValueError(f"labels 'y' must be at least 0, got {int(y.min())}")
    return y
