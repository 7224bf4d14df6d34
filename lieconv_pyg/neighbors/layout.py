"""Pairs within components, in chunks."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lieconv_pyg.lifting.ragged import expand_ranges


class Layout(NamedTuple):
    r"""How sources and targets fall into components; pairs are only ever
    formed within a component.

    Shapes:
        - **src:** the component of each source, :math:`(M_s,)`,
          non-decreasing
        - **dst:** the component of each target, :math:`(M_t,)`,
          non-decreasing
        - **ptr:** the first source of each component, :math:`(C + 1,)`
    """

    src: Tensor
    dst: Tensor
    ptr: Tensor

    @classmethod
    def build(cls, src_component: Tensor, dst_component: Tensor) -> "Layout":
        r"""Renumbers the components of both sides to :math:`0, \dots, C-1`."""
        labels, index = torch.unique(
            torch.cat([src_component, dst_component]), return_inverse=True
        )
        src, dst = index[: src_component.size(0)], index[src_component.size(0) :]
        ptr = torch.searchsorted(
            src.contiguous(), torch.arange(labels.size(0) + 1, device=src.device)
        )
        return cls(src, dst, ptr)

    @property
    def num_components(self) -> int:
        r"""The number of components."""
        return self.ptr.size(0) - 1

    @property
    def counts(self) -> Tensor:
        r"""The number of sources in the component of each target,
        :math:`(M_t,)`.
        """
        return self.ptr.diff()[self.dst]

    @property
    def starts(self) -> Tensor:
        r"""The first source in the component of each target,
        :math:`(M_t,)`.
        """
        return self.ptr[self.dst]

    def select_targets(self, index: Tensor) -> "Layout":
        r"""Returns the layout with some of the targets only."""
        return self._replace(dst=self.dst.index_select(0, index))


def chunk_bounds(counts: Tensor, max_pairs: int) -> list[tuple[int, int]]:
    r"""Splits targets into runs :math:`[lo, hi)` that have about
    :obj:`max_pairs` pairs each: no more than that and one target's own.
    """
    if counts.numel() == 0:
        return []
    chunk = (counts.cumsum(0) - counts) // max_pairs
    _, sizes = torch.unique_consecutive(chunk, return_counts=True)
    ends = sizes.cumsum(0).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=False))


def all_pairs(layout: Layout, max_pairs: int) -> Iterator[Tensor]:
    r"""Yields all pairs within components as chunks :math:`(2, P)` of
    sources and targets, in the order of the targets.
    """
    starts, counts = layout.starts, layout.counts
    for lo, hi in chunk_bounds(counts, max_pairs):
        target, source = expand_ranges(starts[lo:hi], counts[lo:hi])
        yield torch.stack([source, target + lo])


def example_pairs(batch: Tensor, self_pairs: bool = False) -> Tensor:
    r"""Lists all ordered pairs of points of the same example.

    Args:
        batch (torch.Tensor): The example of each point, :math:`(N,)`, non-decreasing.
        self_pairs (bool, optional): Whether a point is paired with itself.
            (default: :obj:`False`)

    Returns:
        Pairs :math:`(2, E)`, sources first, sorted by target, then by source.
    """
    count = torch.bincount(batch)
    first = count.cumsum(0) - count
    target, source = expand_ranges(first[batch], count[batch])
    pairs = torch.stack([source, target])
    return pairs if self_pairs else pairs[:, source != target]


def split_pairs(
    edge_index: Tensor, num_targets: int, max_pairs: int
) -> Iterator[Tensor]:
    r"""Splits pairs that are sorted by target into chunks of whole
    targets, with about :obj:`max_pairs` pairs each.
    """
    counts = torch.bincount(edge_index[1], minlength=num_targets)
    ends = counts.cumsum(0)
    for lo, hi in chunk_bounds(counts, max_pairs):
        begin, end = int(ends[lo] - counts[lo]), int(ends[hi - 1])
        if end > begin:
            yield edge_index[:, begin:end]
