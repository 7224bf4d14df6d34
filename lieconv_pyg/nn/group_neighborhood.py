import math
from collections.abc import Callable
from typing import Optional

import torch
from torch import Tensor

from lieconv_pyg.groups import LieGroup
from lieconv_pyg.groups.checks import positive, share
from lieconv_pyg.groups.resolver import check_group
from lieconv_pyg.lifting import Lifted
from lieconv_pyg.neighbors import (
    Neighborhood,
    PolynomialEnvelope,
    calibrate_radius,
    knn_graph,
    radius_graph,
)
from lieconv_pyg.neighbors.radius import check_radius
from lieconv_pyg.neighbors.sampling import hashed_keys, sample_neighbors

# bool first: else jsonargparse takes True for a callable, and cannot write it down.
Envelope = bool | torch.nn.Module | Callable[[Tensor], Tensor] | None


class GroupNeighborhood(torch.nn.Module):
    r"""Finds the neighbours of lifted points in the distance of the group (Section 4.3
    of `"Generalizing Convolutional Neural Networks for Equivariance to Lie Groups on
    Arbitrary Continuous Data" <https://arxiv.org/abs/2002.12880>`_).

    The radius is a buffer: it is saved with the model, and once it is there nothing
    changes it. Where :obj:`fill` is given instead of :obj:`radius`,
    :meth:`calibrate` sets it from data, on first use in training if not before; with
    several processes all take what the first one found.

    Args:
        group (LieGroup): The group.
        fill (float, optional): Mean share of the points of an example that lie within
            the radius, in :math:`(0, 1]`. (default: :obj:`1.0`, all points)
        radius (float, optional): The radius itself, in the units of the group
            distance, instead of :obj:`fill`. (default: :obj:`None`)
        k (int, optional): If given, the :obj:`k` nearest points instead of a ball.
            (default: :obj:`None`)
        num_neighbors (int, optional): In training, at most this many neighbours of
            each point, drawn uniformly from the ball. (default: :obj:`None`, all)
        eval_num_neighbors (int, optional): The same in evaluation, where an example
            always draws alike, from :obj:`seed`; in another order of its points it
            draws others. (default: :obj:`None`, all)
        envelope (Callable, optional): Weight of a neighbour as a function of distance
            over radius that goes smoothly to zero at 1, or :obj:`True` for
            :class:`~lieconv_pyg.neighbors.PolynomialEnvelope`.
            (default: :obj:`None`)
        seed (int, optional): For :obj:`eval_num_neighbors`. (default: :obj:`0`)
        backend (str, optional): The search, see
            :func:`~lieconv_pyg.neighbors.available_backends`. (default: the first)
    """

    radius: Tensor

    def __init__(
        self,
        group: LieGroup,
        fill: float = 1.0,
        radius: Optional[float] = None,
        k: Optional[int] = None,
        num_neighbors: Optional[int] = None,
        eval_num_neighbors: Optional[int] = None,
        envelope: Envelope = None,
        seed: int = 0,
        backend: Optional[str] = None,
    ) -> None:
        super().__init__()
        check_group(group)
        share(fill, "fill")
        if radius is not None:
            radius = check_radius(radius)
        if radius is not None and fill != 1:
            raise ValueError("give 'fill' or 'radius', not both")
        for name, value in (
            ("k", k),
            ("num_neighbors", num_neighbors),
            ("eval_num_neighbors", eval_num_neighbors),
        ):
            if value is not None:
                positive(value, name)
        if k is not None and (radius is not None or fill != 1 or num_neighbors):
            raise ValueError(
                "'k' takes the nearest points: leave out 'fill', 'radius' and "
                "'num_neighbors'"
            )
        if envelope and k is not None:
            raise ValueError("an 'envelope' needs a radius: leave out 'k'")
        if radius is None:
            radius = math.inf if fill == 1 else math.nan
        if envelope and math.isinf(radius):
            raise ValueError("an 'envelope' needs 'radius' or 'fill' below 1")
        self.group = group
        self.fill = fill
        self.k = k
        self.num_neighbors = num_neighbors
        self.eval_num_neighbors = eval_num_neighbors
        self.envelope = PolynomialEnvelope() if envelope is True else (envelope or None)
        self.seed = seed
        self.backend = backend
        self.register_buffer("radius", torch.tensor(radius, dtype=torch.double))

    def _apply(self, fn: Callable, recurse: bool = True) -> "GroupNeighborhood":
        # In double precision whatever the model's: a checkpoint then has the same
        # neighbours in every precision.
        radius = self.radius
        super()._apply(fn, recurse)
        if not (radius.is_meta or self.radius.is_meta):
            self.radius = radius.to(self.radius.device)
        return self

    @property
    def is_calibrated(self) -> bool:
        """Whether the radius is known."""
        return not bool(self.radius.isnan())

    @torch.no_grad()
    def calibrate(self, lifted: Lifted) -> None:
        """Sets the radius so that the mean share of points within it is :obj:`fill`.

        With several processes all must call it, and take what the first one found.
        Examples with a single point each, or with all points in one place, have no
        radius: then nothing is set.

        Args:
            lifted: Lifted points of a few typical examples.
        """
        if self.fill == 1:
            return
        radius = [float(calibrate_radius(self.group, lifted, self.fill))]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.broadcast_object_list(radius, src=0)  # on any device
        if math.isfinite(radius[0]):
            self.radius.fill_(radius[0])

    def forward(
        self,
        lifted: Lifted,
        target: Optional[Lifted] = None,
        generator: Optional[torch.Generator] = None,
        draw: bool = True,
    ) -> Neighborhood:
        """Neighbours among :obj:`lifted` of the points in :obj:`target`.

        Args:
            lifted: The lifted points.
            target: The lifted points whose neighbours are wanted, if not all.
            generator: Draws the neighbours in training.
            draw: Whether as many are drawn as the settings say; else all are taken.

        Raises:
            RuntimeError: in evaluation, if the radius was never calibrated.
        """
        if self.k is not None:
            return knn_graph(self.group, lifted, self.k, target, backend=self.backend)
        if not self.is_calibrated:
            if not self.training:
                raise RuntimeError(
                    f"the radius for 'fill={self.fill}' is not known yet: call "
                    "'calibrate(pos, batch)' with some examples, train, or load a "
                    "checkpoint"
                )
            self.calibrate(lifted)
        return radius_graph(
            self.group,
            lifted,
            self.radius if self.is_calibrated else math.inf,
            target,
            num_neighbors=self._number if draw else None,
            envelope=self.envelope,
            generator=generator,
            seed=None if self.training else self.seed,
            backend=self.backend,
        )

    @property
    def _number(self) -> Optional[int]:
        """How many neighbours are drawn."""
        return self.num_neighbors if self.training else self.eval_num_neighbors

    def draw(
        self,
        graph: Neighborhood,
        lifted: Lifted,
        target: Optional[Lifted] = None,
        generator: Optional[torch.Generator] = None,
    ) -> Neighborhood:
        """As many neighbours as the settings say, of a graph with all of them."""
        if self._number is None:
            return graph
        target = lifted if target is None else target
        key = None
        if not self.training:
            parts = lifted.component, target.component
            key = hashed_keys(graph.edge_index, *parts, self.seed)
        size = target.num_points
        keep = sample_neighbors(graph.edge_index, self._number, size, generator, key)
        return graph.select(keep)

    def extra_repr(self) -> str:
        """What is printed between the brackets."""
        if self.k is not None:
            return f"{self.group}, k={self.k}"
        return f"{self.group}, fill={self.fill}, radius={float(self.radius):.4g}"
