"""A regression whose target Lorentz transformations leave as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from lieconv_pyg.groups.checks import positive


class LorentzToy(InMemoryDataset):
    r"""The Lorentz-invariant regression of `"A Practical Method for Constructing
    Equivariant Multilayer Perceptrons for Arbitrary Matrix Groups"
    <https://arxiv.org/abs/2104.09459>`_ (Finzi, Welling, Wilson, ICML 2021): four
    vectors with normal components of standard deviation :math:`1/4`, and

    .. math::
        y = 4 \, \big[ p_1^\mu p_3^\nu - (p_1 \cdot p_3 - p_1 \cdot p_1) \eta^{\mu\nu}
        \big] \big[ p_{2 \mu} p_{4 \nu} - (p_2 \cdot p_4 - p_2 \cdot p_2) \eta_{\mu\nu}
        \big], \qquad \eta = \mathrm{diag}(1, -1, -1, -1),

    which is modelled on the scattering of electrons and muons.

    An item has :obj:`pos` :math:`(4, 4)`, the vectors, :obj:`x` :math:`(4, 4)`, which
    of the four each is, and :obj:`y` :math:`(1)`, all in float64.

    Args:
        num (int, optional): How many. (default: :obj:`1000`)
        seed (int, optional): Other numbers, other vectors. (default: :obj:`0`)
        transform (callable, optional): Applied to an item when it is taken.
    """

    def __init__(
        self,
        num: int = 1000,
        seed: int = 0,
        transform: Callable[[Data], Any] | None = None,
    ) -> None:
        super().__init__(None, transform)
        positive(num, "num")
        random = torch.Generator().manual_seed(seed)
        pos = torch.randn(num, 4, 4, generator=random, dtype=torch.float64) / 4
        x = torch.eye(4, dtype=torch.float64).repeat(num, 1)
        self.data = Data(x=x, pos=pos.flatten(0, 1), y=lorentz_target(pos))
        rows = torch.arange(num + 1)
        self.slices = {"x": 4 * rows, "pos": 4 * rows, "y": rows}


def lorentz_target(p: Tensor) -> Tensor:
    r"""The target :math:`(*)` of four vectors :math:`(*, 4, 4)`, see
    :class:`LorentzToy`, by their products."""
    metric = p.new_tensor([1, -1, -1, -1])
    dot = (p * metric) @ p.mT
    a = dot[..., 0, 2] - dot[..., 0, 0]
    b = dot[..., 1, 3] - dot[..., 1, 1]
    pairs = dot[..., 0, 1] * dot[..., 2, 3]
    return 4 * (pairs - b * dot[..., 0, 2] - a * dot[..., 1, 3] + 4 * a * b)
