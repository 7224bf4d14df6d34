"""Radius graphs in the group distance."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.groups.resolver import check_group
from lieconv_pyg.lifting.lifted import Lifted
from lieconv_pyg.neighbors.layout import Layout, all_pairs
from lieconv_pyg.neighbors.pairs import Neighborhood, pair_coordinates
from lieconv_pyg.neighbors.sampling import (
    hashed_keys,
    sample_neighbors,
)
from lieconv_pyg.neighbors.search import candidates, resolve_backend

MAX_PAIRS = 2**18
FEW_SOURCES = 128  # of a target on average, of which looking at all is fastest
SLACK = 256.0  # units of rounding that the candidates get on top of the radius

Envelope = Callable[[Tensor], Tensor]
Edges = tuple[Tensor, Tensor, Tensor]  # edge_index, pair coordinates, distances


def radius_graph(
    group: LieGroup,
    lifted: Lifted,
    radius: float | Tensor,
    lifted_dst: Lifted | None = None,
    *,
    num_neighbors: int | None = None,
    envelope: Envelope | None = None,
    generator: torch.Generator | None = None,
    seed: int | None = None,
    backend: str | None = None,
    max_pairs: int = MAX_PAIRS,
) -> Neighborhood:
    r"""Joins lifted points that are near in the group distance.

    .. math::
        \mathcal{N}(i) = \{ j : d(i, j) < r \},

    within a component (an example, or a frame of an example). A point is its
    own neighbor.

    Groups with a Euclidean lower bound of their distance are searched with a
    Euclidean radius search, whose candidates are filtered by the exact distance; for
    all others, and for an infinite radius, every pair within a component is
    looked at. Either way, pairs are worked on in chunks, so that
    memory is linear in the number of edges that are returned.

    Args:
        group (LieGroup): The group.
        lifted (Lifted): The lifted points: the sources, and the targets too
            when :obj:`lifted_dst` is not given.
        radius (float or torch.Tensor): The radius :math:`r` in units of the
            group distance. :obj:`math.inf` joins all pairs.
        lifted_dst (Lifted, optional): The targets. (default: :obj:`lifted`)
        num_neighbors (int, optional): The number of neighbors that are drawn
            uniformly from each neighborhood. (default: all of them)
        envelope (callable, optional): Maps :math:`d / r` to the weight of an
            edge, as :class:`~lieconv_pyg.neighbors.PolynomialEnvelope` does.
            (default: :obj:`None`)
        generator (torch.Generator, optional): The source of random numbers
            for :obj:`num_neighbors`.
        seed (int, optional): If given, an example always draws the same
            :obj:`num_neighbors`, whatever else is in its batch, see
            :func:`~lieconv_pyg.neighbors.hashed_keys`. (default: :obj:`None`)
        backend (str, optional): The Euclidean search: one of
            :func:`~lieconv_pyg.neighbors.available_backends`. All give the same edges.
            (default: the first available)
        max_pairs (int, optional): The number of pairs that are worked on
            together. (default: :obj:`262144`)

    Returns:
        Neighborhood: The edges, sorted by target and then by source. Pair
        coordinates, distances and weights are differentiable with
        respect to the lifted points.

    Raises:
        ValueError: If :obj:`radius` or :obj:`num_neighbors` is not positive,
            or the backend is unknown.
        ImportError: If the backend is not installed.
    """
    check_points(group, lifted, lifted_dst)
    radius = check_radius(radius)
    if num_neighbors is not None:
        positive(num_neighbors, "num_neighbors")
    dst = lifted if lifted_dst is None else lifted_dst

    parts: list[Edges] = []
    for part in edges_within(group, lifted, dst, radius, backend, max_pairs):
        if num_neighbors is not None:
            key = None
            if seed is not None:
                key = hashed_keys(part[0], lifted.component, dst.component, seed)
            keep = sample_neighbors(
                part[0], num_neighbors, dst.num_points, generator, key
            )
            if keep.numel() < part[2].numel():
                part = _select(part, keep)
        parts.append(part)
    return finish(group, lifted, dst, parts, radius, envelope)


def check_points(group: LieGroup, *lifted: object) -> None:
    r"""Raises an error unless these are points lifted to the group, or :obj:`None`."""
    check_group(group)
    for points in lifted:
        if points is None:
            continue
        if not isinstance(points, Lifted):
            raise TypeError(
                f"'lifted' must be what lieconv_pyg.lift returns, got "
                f"{type(points).__name__}"
            )
        size = (group.matrix_dim, group.matrix_dim, group.orbit_dim)
        if (*points.element.shape[1:], points.orbit.size(1)) != size:
            raise ValueError(
                f"'lifted' was lifted to another group than {group!r}: its elements "
                f"are {tuple(points.element.shape[1:])} matrices"
            )


def check_radius(radius: float | Tensor) -> float:
    r"""Returns the radius as a number, or raises an error unless it is
    positive.
    """
    if isinstance(radius, Tensor) and radius.numel() != 1:
        raise ValueError(
            f"'radius' must be a single number, got a tensor of shape "
            f"{tuple(radius.shape)}"
        )
    try:
        value = float(radius)
    except (TypeError, ValueError):
        raise TypeError(
            f"'radius' must be a number or a tensor with one element, got {radius!r}"
        ) from None
    if not value > 0:
        raise ValueError(
            f"'radius' must be positive, got {value}. Use math.inf to join all points "
            f"of an example"
        )
    return value


@torch.no_grad()
def edges_within(
    group: LieGroup,
    src: Lifted,
    dst: Lifted,
    radius: float,
    backend: str | None,
    max_pairs: int,
) -> Iterator[Edges]:
    r"""Yields all edges with :math:`d(i, j) < r` in chunks of whole targets:
    edges, pair coordinates and distances, sorted by target and source.
    """
    for index in _candidate_pairs(group, src, dst, radius, backend, max_pairs):
        attr = pair_coordinates(group, src, dst, index)
        part = index, attr, group.distance(attr)
        keep = (part[2] < radius).nonzero().view(-1)
        if keep.numel() < index.size(1):
            part = _select(part, keep)
        key = part[0][1] * src.num_points + part[0][0]
        if bool((key[1:] < key[:-1]).any()):
            part = _select(part, key.argsort())
        yield part


def _select(part: Edges, index: Tensor) -> Edges:
    edge_index, attr, distance = part
    return (
        edge_index.index_select(1, index),
        attr.index_select(0, index),
        distance.index_select(0, index),
    )


def _candidate_pairs(
    group: LieGroup,
    src: Lifted,
    dst: Lifted,
    radius: float,
    backend: str | None,
    max_pairs: int,
) -> Iterator[Tensor]:
    backend = resolve_backend(backend, src.element.device)
    layout = Layout.build(src.component, dst.component)
    if layout.src.numel() == 0 or layout.dst.numel() == 0:
        return
    slack = SLACK * torch.finfo(src.element.dtype).eps
    x = y = None
    few = int(layout.counts.sum()) <= FEW_SOURCES * layout.dst.numel()
    if math.isfinite(radius) and not few:
        reach = radius * (1 + slack)
        x = group.embed(src.element, src.orbit, reach)
        y = x if dst is src else group.embed(dst.element, dst.orbit, reach)
    if x is None or y is None or x.size(1) == 0:
        yield from all_pairs(layout, max_pairs)
        return
    # In units of the radius, so that no square overflows or vanishes. The
    # rounding errors of the bound and of the distance grow with the coordinates.
    x, y = x / radius, y / radius
    reach = 1 + slack * (1 + float(x.abs().max()) + float(y.abs().max()))
    yield from candidates(layout, x, y, reach, backend, max_pairs)


def finish(
    group: LieGroup,
    src: Lifted,
    dst: Lifted,
    parts: list[Edges],
    radius: float | Tensor,
    envelope: Envelope | None,
) -> Neighborhood:
    r"""Joins chunks of edges to a :class:`Neighborhood`, with gradients
    where the lifted points ask for them.
    """
    needs_grad = torch.is_grad_enabled() and (src.requires_grad or dst.requires_grad)
    if len(parts) == 1:
        edge_index, edge_attr, distance = parts[0]
    elif parts:
        edge_index = torch.cat([part[0] for part in parts], dim=1)
    else:
        edge_index = src.batch.new_empty(2, 0)
    if needs_grad or not parts:
        edge_attr = pair_coordinates(group, src, dst, edge_index)
        distance = group.distance(edge_attr)
    elif len(parts) > 1:
        edge_attr = torch.cat([part[1] for part in parts])
        distance = torch.cat([part[2] for part in parts])
    weight = None if envelope is None else envelope(distance / radius)
    return Neighborhood(edge_index, edge_attr, distance, weight)
