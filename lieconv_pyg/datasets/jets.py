"""What sets of jets have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from lieconv_pyg.groups.checks import positive

#: The parts that sets of jets have.
SPLITS = ("train", "val", "test")


class Jets(InMemoryDataset):
    r"""Jets as sets of four-momenta.

    An item has :obj:`pos` :math:`(n, 4)`, the momenta :math:`(E, p_x, p_y, p_z)` of its
    constituents, the hardest first, and the class :obj:`y` :math:`(1)`: 1 for signal
    (top quarks), 0 for background.

    Attributes:
        source: Where the jets are from.
        split: Which part of them these are.
        unit: The unit of the momenta, in GeV. It is one for all components: subtracting
            means, or scaling components each for itself, would break the symmetry.
    """

    num_classes = 2
    source: str

    def __init__(
        self,
        root: str | None,
        split: str,
        unit: float,
        transform: Callable[[Data], Any] | None = None,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"'split' must be one of {SPLITS}, got {split!r}")
        number = isinstance(unit, (int, float)) and not isinstance(unit, bool)
        if not number or not 0 < unit < float("inf"):
            raise ValueError(f"'unit' must be a positive number of GeV, got {unit!r}")
        self.split, self.unit = split, unit
        super().__init__(root, transform)

    def hold(self, pos: Tensor, counts: Tensor, y: Tensor) -> None:
        r"""Makes these the items: momenta :math:`(M, 4)` in GeV of all constituents,
        how many each jet has :math:`(N)`, and classes :math:`(N)`."""
        zero = counts.new_zeros(1)
        self.data = Data(pos=pos / self.unit, y=y)
        self.slices = {
            "pos": torch.cat([zero, counts.cumsum(0)]),
            "y": torch.arange(len(y) + 1),
        }

    @property
    def counts(self) -> Tensor:
        r"""How many constituents each jet has, :math:`(N)`."""
        return self.slices["pos"].diff()[torch.tensor(self.indices())]

    def momenta(self) -> Tensor:
        r"""The momentum of each jet in GeV, the sum over its constituents,
        :math:`(N, 4)` in float64."""
        counts = self.slices["pos"].diff()
        jet = torch.arange(len(counts)).repeat_interleave(counts)
        total = torch.zeros(len(counts), 4, dtype=torch.float64)
        total.index_add_(0, jet, self._data.pos.double())
        return self.unit * total[torch.tensor(self.indices())]

    def masses(self) -> Tensor:
        r"""The mass of each jet in GeV, :math:`(N)` in float64."""
        return mass(self.momenta())


def mass(p: Tensor) -> Tensor:
    r"""The masses :math:`\sqrt{\max(E^2 - |\mathbf{p}|^2, 0)}` of momenta
    :math:`(*, 4)`."""
    size = p[..., 1:].norm(dim=-1)
    return ((p[..., 0] - size) * (p[..., 0] + size)).clamp(min=0).sqrt()


def check_number(value: int | None, name: str) -> int | None:
    """The number, if it is at least 1, or none."""
    return None if value is None else positive(value, name)
