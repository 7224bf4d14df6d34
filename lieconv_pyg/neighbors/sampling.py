"""Uniform sampling of neighbors."""

import torch
from torch import Tensor

from lieconv_pyg.groups.checks import positive

KEY_BITS = 38  # of the random keys: two are the same by chance once in 2e11


def sample_neighbors(
    edge_index: Tensor,
    num_neighbors: int,
    num_targets: int,
    generator: torch.Generator | None = None,
    key: Tensor | None = None,
) -> Tensor:
    r"""Draws at most :obj:`num_neighbors` neighbors of every target,
    uniformly and without replacement.

    Every edge gets a random key, and the smallest keys of a target win. So
    each subset of a target's neighbors is equally likely, whatever their
    order and coordinates: the mean over the sample is an unbiased Monte
    Carlo estimate of the mean over the neighborhood.

    Args:
        edge_index (torch.Tensor): The edges :math:`(2, E)`, sources first.
        num_neighbors (int): The number of neighbors to keep.
        num_targets (int): The number of targets.
        generator (torch.Generator, optional): The source of random numbers.
        key (torch.Tensor, optional): The random keys themselves, :math:`(E,)`,
            any numbers, such as :func:`hashed_keys`. (default: drawn)

    Returns:
        torch.Tensor: The kept edges, sorted indices into :obj:`edge_index`.

    Raises:
        ValueError: If :obj:`num_neighbors` is less than one.
    """
    positive(num_neighbors, "num_neighbors")
    target, device = edge_index[1], edge_index.device
    bits = min(KEY_BITS, 62 - num_targets.bit_length())
    if key is None:
        random = torch.rand(
            target.size(0),
            dtype=torch.float64,
            device=device if generator is None else generator.device,
            generator=generator,
        )
        key = (random.to(device) * 2**bits).long()
    else:
        key = key.argsort(stable=True).argsort()  # as small as can be
    # One sort by target and key: of integers, which is many times faster.
    key, order = (target * 2**bits + key).sort(stable=True)
    target = key >> bits
    counts = torch.bincount(target, minlength=num_targets)
    start = counts.cumsum(0) - counts
    rank = torch.arange(target.size(0), device=device) - start.index_select(0, target)
    keep = torch.zeros_like(rank, dtype=torch.bool)
    return keep.index_fill_(0, order[rank < num_neighbors], True).nonzero().view(-1)


def hashed_keys(
    edge_index: Tensor, src_component: Tensor, dst_component: Tensor, seed: int
) -> Tensor:
    r"""Keys that look random and depend only on the seed and on the places of the
    two points within their component: an example draws the same neighbors
    whatever else is in its batch.

    Args:
        edge_index (torch.Tensor): The edges :math:`(2, E)`, sources first.
        src_component (torch.Tensor): The component of each source,
            non-decreasing.
        dst_component (torch.Tensor): The component of each target,
            non-decreasing.
        seed (int): Another seed gives other keys.

    Returns:
        torch.Tensor: Non-negative integers :math:`(E,)`.
    """
    key = torch.full_like(edge_index[0], seed)
    for index, component in zip(
        edge_index, (src_component, dst_component), strict=True
    ):
        first = torch.searchsorted(component, component[index])
        key = _mix(key + index - first)
    return key


def _mix(x: Tensor) -> Tensor:
    """Scrambles integers (Steele et al., 2014, the finalizer of SplitMix64)."""
    x = (x ^ (x >> 30 & 0x3FFFFFFFF)) * -0x40A7B892E31B1A47
    x = (x ^ (x >> 27 & 0x1FFFFFFFFF)) * -0x6B2FB644ECCEEE15
    return (x ^ (x >> 31 & 0x1FFFFFFFF)) & 0x7FFFFFFFFFFFFFFF
