"""Checks of a batch of point clouds."""

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.resolver import check_group


def check_points_and_batch(
    pos: Tensor, batch: Tensor | None, group: LieGroup | None = None
) -> Tensor:
    r"""Checks a batch of point clouds before it is lifted.

    Args:
        pos (torch.Tensor): The points :math:`(N, d)`.
        batch (torch.Tensor, optional): The example of each point
            :math:`(N,)`, non-decreasing. :obj:`None` stands for one example.
        group (LieGroup, optional): The group that will act on the points.

    Returns:
        torch.Tensor: The batch vector (zeros when it was :obj:`None`).

    Raises:
        TypeError: If an argument is not a tensor or has a wrong dtype.
        ValueError: If a shape or value is wrong, or if the lift of a point is
            undefined for this group.
    """
    _check_points(pos)
    batch = _check_batch(pos, batch)
    if group is not None:
        check_group(group)
        if pos.size(1) != group.space_dim:
            raise ValueError(
                f"'pos' has {pos.size(1)} coordinates a point, but {group!r} acts on "
                f"{group.space_dim}-dimensional points. Pass points of shape "
                f"(N, {group.space_dim}) or choose a group that acts on "
                f"{pos.size(1)} dimensions"
            )
        group.check_points(pos)
    return batch


def _check_points(pos: Tensor) -> None:
    if not isinstance(pos, Tensor):
        raise TypeError(
            f"'pos' must be a torch.Tensor of shape (N, d), got "
            f"{type(pos).__name__}. Convert it with torch.as_tensor(...)"
        )
    if pos.dim() != 2:
        raise ValueError(
            f"'pos' must have shape (N, d), got {tuple(pos.shape)}. Concatenate "
            f"several point clouds along the first dimension and pass 'batch'"
        )
    if pos.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"'pos' must be float32 or float64, got {pos.dtype}. "
            f"Convert it with pos.float()"
        )
    if pos.size(0) == 0:
        raise ValueError("'pos' is empty. Pass at least one point")
    finite = torch.isfinite(pos).all(dim=1)
    if not bool(finite.all()):
        raise ValueError(
            f"'pos' has NaN or infinite coordinates in {int((~finite).sum())} of "
            f"{pos.size(0)} points. Remove or repair these points"
        )


def _check_batch(pos: Tensor, batch: Tensor | None) -> Tensor:
    if batch is None:
        return pos.new_zeros(pos.size(0), dtype=torch.long)
    if not isinstance(batch, Tensor):
        raise TypeError(
            f"'batch' must be a torch.Tensor of shape (N,), got "
            f"{type(batch).__name__}. Convert it with torch.as_tensor(...)"
        )
    if batch.dtype != torch.long:
        raise TypeError(
            f"'batch' must have dtype torch.long, got {batch.dtype}. "
            f"Convert it with batch.long()"
        )
    if batch.dim() != 1 or batch.size(0) != pos.size(0):
        raise ValueError(
            f"'batch' must have shape ({pos.size(0)},), one entry for each row of "
            f"'pos', got {tuple(batch.shape)}"
        )
    if batch.device != pos.device:
        raise ValueError(
            f"'batch' is on {batch.device} but 'pos' is on {pos.device}. "
            f"Move them to the same device"
        )
    if int(batch[0]) < 0 or bool((batch[1:] < batch[:-1]).any()):
        raise ValueError(
            "'batch' must be non-negative and non-decreasing. Sort the points by "
            "'batch' (index = batch.argsort(stable=True))"
        )
    return batch
