"""Between features of lifted points and what points or examples have."""

from collections.abc import Sequence
from typing import Optional

import torch
from torch import Tensor
from torch_geometric.nn import Linear
from torch_geometric.nn.inits import reset
from torch_geometric.utils import scatter, softmax

from lieconv_pyg.groups import LieGroup
from lieconv_pyg.lifting import Lifted


class Attention(torch.nn.Module):
    r"""Weighs the features of lifted points by a softmax over those of each example,
    for each channel, times their number: the mean of what comes out is that of
    :class:`~torch_geometric.nn.aggr.AttentionalAggregation`.

    Args:
        channels (int): Channels of each lifted point.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate_nn = Linear(channels, channels)

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        reset(self.gate_nn)

    def forward(self, h: Tensor, batch: Tensor, batch_size: int) -> Tensor:
        r"""The weighted features :math:`(M, F)`."""
        weight = softmax(self.gate_nn(h), batch, num_nodes=batch_size)
        count = torch.bincount(batch, minlength=batch_size)
        return weight * h * count[batch].unsqueeze(1)


def check_pool(pool: Optional[str], ratio: Sequence[float]) -> None:
    """Checks how outputs of points are pooled, of which blocks keep such shares."""
    if pool not in ("mean", "sum", "attention", None):
        raise ValueError(
            f"'pool' must be 'mean', 'sum', 'attention' or None (got {pool!r})"
        )
    if pool is None and min(ratio) < 1:
        raise ValueError("'pool=None' needs all points: leave 'ratio' at 1")


def turn_vectors(group: LieGroup, lifted: Lifted, v: Tensor) -> Tensor:
    r"""The vectors :math:`L_u v` in space of vectors :math:`v` in the frames of lifted
    points, both :math:`(M, F d)`.
    """
    vectors = v.unflatten(1, (-1, group.space_dim))
    u = lifted.element.to(torch.promote_types(v.dtype, torch.float))
    return group.act_on_vectors(u.unsqueeze(1), vectors).flatten(1)


def see_vectors(group: LieGroup, lifted: Lifted, v: Tensor) -> Tensor:
    r"""The vectors :math:`L_u^{-1} v` in the frames of lifted points, :math:`(M, F d)`,
    of vectors :math:`(N, F, d)` in space at the points; or :math:`(B, M, F d)` of
    :math:`(B, N, F, d)`, where examples share their points.
    """
    u = lifted.element.to(torch.promote_types(v.dtype, torch.float))
    vectors = v.index_select(-3, lifted.point)
    seen = group.act_on_vectors(group.inverse(u).unsqueeze(1), vectors).flatten(-2)
    return seen.to(v.dtype)


def pool_lifted(
    out: Tensor,
    pool: Optional[str],
    kept: Lifted,
    lifted: Lifted,
    num_points: int,
    batch_size: int,
) -> Tensor:
    r"""Pools outputs of lifted points; means over none are 0.

    Args:
        out: Outputs :math:`(M, F)` of the lifted points that were kept.
        pool: As for :class:`~lieconv_pyg.nn.LieResNet`.
        kept: These lifted points.
        lifted: All lifted points.
        num_points: Number of points.
        batch_size: Number of examples.
    """
    if pool is None:
        return scatter(out, kept.point, 0, num_points, reduce="mean")
    out = scatter(out, kept.batch, 0, batch_size, reduce="mean")
    if pool == "sum":
        example = kept.batch.new_zeros(num_points)
        example = example.index_copy(0, lifted.point, lifted.batch)
        count = torch.bincount(example, minlength=batch_size)
        out = out * count.to(out.dtype).unsqueeze(1)
    return out
