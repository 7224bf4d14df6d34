"""Lifting and graph building as PyG transforms, for use in a loader."""

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import BaseTransform

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.groups.resolver import check_group
from lieconv_pyg.lifting import Lifted, lift, lift_frames
from lieconv_pyg.neighbors import Neighborhood, knn_graph, radius_graph
from lieconv_pyg.neighbors.radius import Envelope, check_radius


class LiftedData(Data):
    r"""A :class:`torch_geometric.data.Data` object that also holds lifted
    points and their graph, and that batches correctly: each index is shifted
    by the number of what it points to (points, components or lifted points),
    while :obj:`num_nodes` remains the number of points.

    Attributes:
        lift_element: Group elements, :math:`(M, m, m)`.
        lift_orbit: Orbit labels, :math:`(M, \dim q)`.
        lift_point: The point of each lifted point, :math:`(M,)`.
        lift_component: The component of each lifted point, :math:`(M,)`.
        lift_edge_index: Edges between lifted points, :math:`(2, E)`.
        lift_edge_attr: Pair coordinates, :math:`(E, \dim G + 2 \dim q)`.
        lift_edge_distance: Group distances, :math:`(E,)`.
        lift_edge_weight: Weights of the envelope, :math:`(E,)`, if there is
            one.
    """

    def __inc__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        if key == "lift_point":
            return self.num_nodes
        if key == "lift_component":
            return int(value.max()) + 1 if value.numel() > 0 else 0
        if key == "lift_edge_index":
            return self.lift_point.size(0)
        return super().__inc__(key, value, *args, **kwargs)

    def is_node_attr(self, key: str) -> bool:
        r"""Whether :obj:`key` has a row for each point. Lifted points never
        do, even where there are as many.
        """
        return not key.startswith("lift_") and super().is_node_attr(key)

    def is_edge_attr(self, key: str) -> bool:
        r"""Whether :obj:`key` has a row for each edge of :obj:`edge_index`."""
        return not key.startswith("lift_") and super().is_edge_attr(key)

    @property
    def lifted(self) -> Lifted:
        r"""The lifted points of this example, or of this batch."""
        return lifted(self)

    @property
    def neighborhood(self) -> Neighborhood:
        r"""The graph over the lifted points."""
        return neighborhood(self)


# A dataset that was saved with lifted points loads again (weights_only=True).
torch.serialization.add_safe_globals([LiftedData])


def lifted(data: Data) -> Lifted:
    r"""Returns the lifted points that :class:`LiftPoints` stored in an example
    or in a batch of examples.

    Raises:
        ValueError: If there are none.
    """
    if "lift_element" not in data:
        raise ValueError(
            "'data' has no lifted points. Apply LiftPoints(group) to it first"
        )
    point, batch = data.lift_point, data.get("batch")
    batch = torch.zeros_like(point) if batch is None else batch[point]
    return Lifted(data.lift_element, data.lift_orbit, batch, point, data.lift_component)


def neighborhood(data: Data) -> Neighborhood:
    r"""Returns the graph that :class:`GroupGraph` stored in an example or in a
    batch of examples.

    Raises:
        ValueError: If there is none.
    """
    if "lift_edge_index" not in data:
        raise ValueError(
            "'data' has no graph over lifted points. Apply GroupGraph(group, radius) "
            "to it first"
        )
    return Neighborhood(
        data.lift_edge_index,
        data.lift_edge_attr,
        data.lift_edge_distance,
        data.get("lift_edge_weight"),
    )


class LiftPoints(BaseTransform):
    r"""Lifts the points :obj:`data.pos` to a group, and returns a
    :class:`LiftedData` object. A batch is lifted as a whole and remains a batch.

    Apply transforms that move or drop points before this one.

    Args:
        group (LieGroup): The group.
        num_lifts (int, optional): The number of lifts a point.
            (default: :obj:`1`)
        lift (str, optional): :obj:`"haar"` for lifts over the stabilizer,
            :obj:`"frames"` for equivariant frames, which have a number of their
            own. (default: :obj:`"haar"`)
        fixed (bool, optional): If set to :obj:`True`, will use the same
            stabilizer elements for every point. (default: :obj:`False`)
        seed (int, optional): If given, every call starts its random numbers from
            this seed. (default: torch's global generator)
        vectors (bool, optional): Whether outputs are vectors, for frames, see
            :func:`~lieconv_pyg.lifting.lift_frames`. (default: :obj:`False`)

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        group: LieGroup,
        num_lifts: int = 1,
        lift: str = "haar",
        fixed: bool = False,
        seed: int | None = None,
        vectors: bool = False,
    ) -> None:
        if lift not in ("haar", "frames"):
            raise ValueError(f"'lift' must be 'haar' or 'frames', got {lift!r}")
        check_group(group)
        positive(num_lifts, "num_lifts")
        if lift == "frames" and num_lifts > 1:
            raise ValueError(
                f"'num_lifts' follows from the frames with lift='frames': leave it "
                f"out, got {num_lifts}"
            )
        self.group = group
        self.num_lifts = num_lifts
        self.lift = lift
        self.fixed = fixed
        self.seed = seed
        self.vectors = vectors

    def forward(self, data: Data) -> Data:
        r"""Returns the example with lifted points."""
        data = _lifted_data(data)
        pos, batch = data.pos, data.get("batch")
        if pos is None:
            raise ValueError(
                "'data' has no points: set data.pos, of shape (num_points, "
                f"{self.group.space_dim})"
            )
        if self.lift == "frames":
            out = lift_frames(self.group, pos, batch, vectors=self.vectors)
        else:
            out = lift(
                self.group,
                pos,
                batch,
                self.num_lifts,
                fixed=self.fixed,
                generator=_generator(self.seed, pos),
            )
        for key in list(data.keys()):
            if key.startswith("lift_edge_"):
                del data[key]  # of other lifts
        data.lift_element, data.lift_orbit = out.element, out.orbit
        data.lift_point, data.lift_component = out.point, out.component
        return data

    def __repr__(self) -> str:
        how = "frames" if self.lift == "frames" else f"num_lifts={self.num_lifts}"
        fixed = ", fixed=True" if self.fixed else ""
        return f"{self.__class__.__name__}({self.group}, {how}{fixed})"


class GroupGraph(BaseTransform):
    r"""Joins lifted points that are near in the group distance, see
    :func:`~lieconv_pyg.neighbors.radius_graph` and
    :func:`~lieconv_pyg.neighbors.knn_graph`. Follows :class:`LiftPoints`.

    Args:
        group (LieGroup): The group.
        radius (float, optional): The radius in units of the group distance.
        k (int, optional): The number of nearest points, in place of a radius.
        num_neighbors (int, optional): The number of neighbors that are drawn
            from each neighborhood. (default: all of them)
        envelope (callable, optional): Maps distance over radius to the weight
            of an edge. (default: :obj:`None`)
        seed (int, optional): If given, every call starts its random numbers from
            this seed. (default: torch's global generator)
        backend (str, optional): The Euclidean search: one of
            :func:`~lieconv_pyg.neighbors.available_backends`.
            (default: the first available)

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        group: LieGroup,
        radius: float | None = None,
        k: int | None = None,
        num_neighbors: int | None = None,
        envelope: Envelope | None = None,
        seed: int | None = None,
        backend: str | None = None,
    ) -> None:
        check_group(group)
        if (radius is None) == (k is None):
            raise ValueError("give either 'radius' or 'k'")
        if k is not None:
            positive(k, "k")
            if num_neighbors is not None or envelope is not None:
                raise ValueError("'num_neighbors' and 'envelope' need 'radius'")
        if num_neighbors is not None:
            positive(num_neighbors, "num_neighbors")
        self.group = group
        self.radius = None if radius is None else check_radius(radius)
        self.k = k
        self.backend = backend
        self.num_neighbors = num_neighbors
        self.envelope = envelope
        self.seed = seed

    def forward(self, data: Data) -> Data:
        r"""Returns the example with a graph over its lifted points."""
        points = lifted(data)
        if self.k is not None:
            graph = knn_graph(self.group, points, self.k, backend=self.backend)
        else:
            assert self.radius is not None
            graph = radius_graph(
                self.group,
                points,
                self.radius,
                num_neighbors=self.num_neighbors,
                envelope=self.envelope,
                generator=_generator(self.seed, points.element),
                backend=self.backend,
            )
        data.lift_edge_index, data.lift_edge_attr = graph.edge_index, graph.edge_attr
        data.lift_edge_distance = graph.distance
        if graph.edge_weight is not None:
            data.lift_edge_weight = graph.edge_weight
        return data

    def __repr__(self) -> str:
        how = f"radius={self.radius:g}" if self.k is None else f"k={self.k}"
        return f"{self.__class__.__name__}({self.group}, {how})"


def _lifted_data(data: Data) -> Data:
    if isinstance(data, (LiftedData, Batch)):
        return data
    if type(data) is not Data:
        raise TypeError(
            f"cannot lift a {type(data).__name__}: pass a torch_geometric.data.Data "
            f"object, a Batch, or a subclass of LiftedData"
        )
    return LiftedData.from_dict(data.to_dict())


def _generator(seed: int | None, like: Tensor) -> torch.Generator | None:
    return None if seed is None else torch.Generator(like.device).manual_seed(seed)
