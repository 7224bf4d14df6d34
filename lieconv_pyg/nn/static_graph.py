r"""Features :math:`(B, M, F)` of examples that share their points (PyG's *static
graphs*).

In memory the examples of a point are next to each other: what a neighbour sends is then
one long row, and every layer but the convolution works on the rows
:math:`(M B, F)`.
"""

import torch
from torch import Tensor

from lieconv_pyg.lifting import Lifted


def to_rows(x: Tensor) -> Tensor:
    """Features :math:`(M, F)` as they are, and :math:`(B, M, F)` as
    :math:`(M B, F)`."""
    return x if x.dim() == 2 else x.transpose(0, 1).flatten(0, 1)


def from_rows(rows: Tensor, like: Tensor) -> Tensor:
    """What :func:`to_rows` was made of: for examples as those of :obj:`like`."""
    if like.dim() == 2:
        return rows
    return rows.unflatten(0, (-1, like.size(0))).transpose(0, 1)


def select_points(x: Tensor, index: Tensor) -> Tensor:
    """The features of some of the points."""
    if x.dim() == 2:
        return x.index_select(0, index)
    return x.transpose(0, 1).index_select(0, index).transpose(0, 1)


def rows_of(lifted: Lifted, like: Tensor) -> Lifted:
    """The lifted points of the rows of :func:`to_rows`, with the examples and points
    that they belong to."""
    if like.dim() == 2:
        return lifted
    size, number = like.size(0), lifted.num_points
    example = torch.arange(size, device=like.device)
    point = lifted.point.unsqueeze(1) + example * like.size(1)
    component = lifted.component.unsqueeze(1) + 0 * example
    return Lifted(
        lifted.element.repeat_interleave(size, dim=0),
        lifted.orbit.repeat_interleave(size, dim=0),
        example.repeat(number),
        point.flatten(),
        component.flatten(),
    )
