"""A regression with rotations as a symmetry that holds as nearly as is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from lieconv_pyg.groups.checks import nonnegative, positive

_SPLITS = ("train", "val", "test")


class ModifiedInertia(InMemoryDataset):
    r"""The moments of inertia of point masses about the origin, changed along the third
    axis, as in `"Residual Pathway Priors for Soft Equivariance Constraints"
    <https://arxiv.org/abs/2112.01388>`_ (Finzi, Benton, Wilson, NeurIPS 2021):

    .. math::
        y = I + \epsilon \, (I e_z) e_z^\top, \qquad
        I = \sum_i m_i \big( \| x_i \|^2 - x_i x_i^\top \big) .

    All rotations :math:`R` and reflections about the origin take :math:`I` to
    :math:`R I R^\top`. With :math:`\epsilon > 0` those that keep the third axis do so
    with :math:`y`, and the others miss it by as much as :math:`\epsilon` says.

    Masses are softplus of normal numbers, coordinates are normal. An item has :obj:`x`
    :math:`(k, 1)`, the masses, :obj:`pos` :math:`(k, 3)` and :obj:`y`
    :math:`(1, 3, 3)`, all in float64. The splits are drawn with different seeds; masses
    and points do not depend on :obj:`breaking`, and the first items are the same
    however many there are.

    Args:
        split (str, optional): :obj:`"train"`, :obj:`"val"` or :obj:`"test"`.
            (default: :obj:`"train"`)
        num (int, optional): How many. (default: :obj:`1000`)
        breaking (float, optional): The number :math:`\epsilon`, from 0 for a target
            that rotations turn exactly. (default: :obj:`0.3`)
        num_masses (int, optional): The number :math:`k` of masses.
            (default: :obj:`5`)
        seed (int, optional): Other numbers, other masses and points.
            (default: :obj:`0`)
        transform (callable, optional): Applied to an item when it is taken.

    Raises:
        TypeError: If a number is of the wrong kind.
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        split: str = "train",
        num: int = 1000,
        breaking: float = 0.3,
        num_masses: int = 5,
        seed: int = 0,
        transform: Callable[[Data], Any] | None = None,
    ) -> None:
        if split not in _SPLITS:
            raise ValueError(
                f"'split' must be one of {', '.join(_SPLITS)} (got {split!r})"
            )
        positive(num, "num")
        positive(num_masses, "num_masses")
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise TypeError(f"'seed' must be an integer, got {seed!r}")
        if seed < 0:
            raise ValueError(f"'seed' must be at least 0, got {seed}")
        super().__init__(None, transform)
        self.split, self.breaking = split, nonnegative(breaking, "breaking")
        random = np.random.default_rng([seed, _SPLITS.index(split)])
        drawn = torch.from_numpy(random.standard_normal((num, num_masses, 4)))
        mass, pos = torch.nn.functional.softplus(drawn[..., 0]), drawn[..., 1:]
        y = modified_inertia(mass, pos, self.breaking)
        points, rows = mass.view(-1, 1), torch.arange(num + 1)
        self.data = Data(x=points, pos=pos.flatten(0, 1), y=y)
        self.slices = {"x": num_masses * rows, "pos": num_masses * rows, "y": rows}


def modified_inertia(mass: Tensor, pos: Tensor, breaking: float = 0.3) -> Tensor:
    r"""The target :math:`(*, 3, 3)` of masses :math:`(*, k)` at points
    :math:`(*, k, 3)`, see :class:`ModifiedInertia`.

    Args:
        mass (torch.Tensor): The masses.
        pos (torch.Tensor): The points.
        breaking (float, optional): The number :math:`\epsilon`. (default: :obj:`0.3`)
    """
    weighted = mass.unsqueeze(-1) * pos
    eye = torch.eye(3, dtype=pos.dtype, device=pos.device)
    inertia = (weighted * pos).sum((-1, -2))[..., None, None] * eye
    inertia = inertia - weighted.mT @ pos
    return inertia * (1 + breaking * eye[2])  # the third column
