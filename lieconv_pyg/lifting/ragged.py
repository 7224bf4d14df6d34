"""Integer ranges of unequal lengths."""

import torch
from torch import Tensor


def expand_ranges(start: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    r"""Lists the members of integer ranges, one range after the other.

    Args:
        start (torch.Tensor): The first member of each range, :math:`(R,)`.
        count (torch.Tensor): The number of members, :math:`(R,)`.

    Returns:
        The range of each member and the member itself, both :math:`(P,)`.
    """
    total = int(count.sum())
    owner = torch.repeat_interleave(count, output_size=total)
    member = torch.arange(total, device=start.device)
    shift = start - (count.cumsum(0) - count)
    return owner, member + shift[owner]
