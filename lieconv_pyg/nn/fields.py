from typing import Any, NamedTuple, Optional

import torch
from torch import Tensor
from torch_geometric.utils import add_remaining_self_loops, scatter

from lieconv_pyg.groups import LieGroup
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.groups.resolver import check_group
from lieconv_pyg.lifting import Lifted, check_points_and_batch
from lieconv_pyg.nn.lie_resnet import LieResNet


class FieldStatistics(NamedTuple):
    r"""What a field is in the window of each point.

    Shapes:
        - **mean:** the mean vector, :math:`(*, N, 1, d)`
        - **size:** the root mean square of what differs from it,
          :math:`(*, N, 1, 1)`; 1 where nothing does
    """

    mean: Tensor
    size: Tensor

    def normalize(self, vectors: Tensor) -> Tensor:
        r"""Vectors :math:`(*, N, V, d)` without their mean and size."""
        return (vectors - self.mean) / self.size

    def restore(self, vectors: Tensor) -> Tensor:
        r"""The inverse of :meth:`normalize`."""
        return vectors * self.size + self.mean


def field_statistics(
    vectors: Tensor,
    batch: Tensor,
    edge_index: Optional[Tensor] = None,
    motion: bool = True,
    magnitude: bool = True,
) -> FieldStatistics:
    r"""The mean and the size of a field of vectors around each of its points.

    Where the field is turned or stretched, so are they; where a constant is added, it
    is added to the mean, and the size stays.

    Args:
        vectors: Vectors :math:`(N, V, d)` of the points, or :math:`(B, N, V, d)` of
            examples that share them.
        batch: Batch vector :math:`(N)`.
        edge_index: The window of a point, as edges :math:`(2, E)` from the points in
            it, and the point itself. (default: its example)
        motion: If :obj:`False`, the mean is taken to be 0.
        magnitude: If :obj:`False`, the size is 1.
    """
    num_points = vectors.size(-3)
    if edge_index is None:
        source, window = torch.arange(num_points, device=batch.device), batch
        own, number = batch, int(batch[-1]) + 1
    else:
        edges = add_remaining_self_loops(edge_index, num_nodes=num_points)[0]
        (source, window), number = edges, num_points
        own = torch.arange(num_points, device=edges.device)

    def mean_of(values: Tensor) -> Tensor:  # (*, E, K), over the windows
        return scatter(values, window, -2, number, "mean")

    sent = vectors.index_select(-3, source)
    mean = vectors.new_zeros(number, vectors.size(-1))
    mean = mean_of(sent.mean(-2)) if motion else mean
    mean = mean.expand(*vectors.shape[:-3], -1, -1)
    size = torch.ones_like(mean[..., :1])
    if magnitude:
        away = sent - mean.index_select(-2, window).unsqueeze(-2)
        square = mean_of(_mean_square(away))
        noise = 64 * torch.finfo(vectors.dtype).eps
        floor = noise**2 * mean_of(_mean_square(sent))
        size = torch.where(square > floor, square, 1.0).sqrt()
    mean, size = (part.index_select(-2, own).unsqueeze(-2) for part in (mean, size))
    return FieldStatistics(mean, size)


def _mean_square(vectors: Tensor) -> Tensor:
    """Over the vectors of each point, :math:`(*, N, 1)`."""
    return vectors.square().sum(-1).mean(-1, keepdim=True)


class FieldLieResNet(torch.nn.Module):
    r"""LieResNet from fields of vectors to fields of vectors, such as the velocities of
    a flow at several times to the next ones, with the symmetries of `"Incorporating
    Symmetry into Deep Dynamics Models for Improved Generalization"
    <https://arxiv.org/abs/2002.03061>`_ (Wang, Walters, Yu, ICLR 2021) that act on
    values and not on places.

    The network sees :math:`(w - \bar w) / m` and what it gives is multiplied by
    :math:`m` and has :math:`\bar w` added, with mean and size over a window about each
    point. So it commutes with

    - uniform motion :math:`w \to w + c`, with :obj:`motion`;
    - changes of magnitude :math:`w \to \lambda w`, :math:`\lambda > 0`, with
      :obj:`magnitude`;
    - the motions of the group, as :class:`~lieconv_pyg.nn.LieResNet` with
      :obj:`in_vectors` and :obj:`out_vectors` does.

    Args:
        in_vectors (int): Number :math:`V` of vectors of each point.
        out_vectors (int): Number of vectors that come out at each point.
        group (LieGroup): The group.
        in_channels (int, optional): Further features of each point.
            (default: :obj:`1`)
        motion (bool, optional): Whether means are taken out. (default: :obj:`True`)
        magnitude (bool, optional): Whether sizes are; only for groups that keep the
            length of vectors. (default: :obj:`True`)
        **kwargs (optional): Further arguments of :class:`~lieconv_pyg.nn.LieResNet`.

    Shapes:
        - **input:** vectors :math:`(N, V, d)`, points :math:`(N, d)`, batch vector
          :math:`(N)` *(optional)*, features :math:`(N, F_{in})` *(optional)*, windows
          :math:`(2, E)` *(optional)*
        - **output:** vectors :math:`(N, F_{out}, d)`

        Vectors may also be :math:`(B, N, V, d)`, of :math:`B` examples that share
        their :math:`N` points, such as snapshots on a grid.

    Raises:
        ValueError: If the group stretches vectors and sizes are to be taken out.
    """

    def __init__(
        self,
        in_vectors: int,
        out_vectors: int,
        group: LieGroup,
        in_channels: int = 1,
        motion: bool = True,
        magnitude: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if magnitude and _stretches(check_group(group)):
            raise ValueError(
                f"{group} changes the length of vectors, which 'magnitude' takes out: "
                "set 'magnitude=False'"
            )
        positive(in_vectors, "in_vectors")
        self.motion = motion
        self.magnitude = magnitude
        kinds: dict[str, Any] = dict(in_vectors=in_vectors, out_vectors=True)
        self.net = LieResNet(
            in_channels, out_vectors, group, pool=None, **kinds, **kwargs
        )

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        self.net.reset_parameters()

    def calibrate(self, pos: Tensor, batch: Optional[Tensor] = None) -> None:
        r"""Sets the radii from :obj:`fill`, with some typical examples."""
        self.net.calibrate(pos, batch)

    def forward(
        self,
        vectors: Tensor,
        pos: Tensor,
        batch: Optional[Tensor] = None,
        x: Optional[Tensor] = None,
        edge_index: Optional[Tensor] = None,
        lifted: Optional[Lifted] = None,
        generator: Optional[torch.Generator] = None,
    ) -> Tensor:
        r"""Applies the network.

        Args:
            vectors: Vectors :math:`(N, V, d)` of the points.
            pos: Points :math:`(N, d)`.
            batch: Batch vector :math:`(N)`.
            x: Further features :math:`(N, F_{in})`; none for ones.
            edge_index: The window of each point that means and sizes are taken over, as
                edges :math:`(2, E)`; it should move with the points, as nearest
                neighbours do. (default: the example)
            lifted: The lifted points, if they are known already.
            generator: Draws lifts and neighbours in training.

        Raises:
            TypeError, ValueError: if shapes or types do not fit.
        """
        batch = check_points_and_batch(pos, batch, self.net.group)
        shape = len(pos), self.net.in_vectors, pos.size(1)
        if vectors.dim() not in (3, 4) or vectors.shape[-3:] != shape:
            raise ValueError(
                f"'vectors' must be of shape {shape}, or (examples, *{shape}) where "
                f"all have the same points (got {tuple(vectors.shape)})"
            )
        dtype = self.net.lin_in.weight.dtype
        if vectors.dtype != dtype and not torch.is_autocast_enabled(pos.device.type):
            raise TypeError(
                f"'vectors' are {vectors.dtype} and the model {dtype}: convert one of "
                "them"
            )
        if edge_index is not None:
            _check_windows(edge_index, batch)
        if x is None:
            x = vectors.new_ones(*vectors.shape[:-2], self.net.in_channels)
        kinds = self.motion, self.magnitude
        statistics = field_statistics(vectors, batch, edge_index, *kinds)
        seen = statistics.normalize(vectors)
        out = self.net(x, pos, batch, lifted=lifted, vectors=seen, generator=generator)
        return statistics.restore(out)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.net.in_vectors}, "
            f"{self.net.out_channels}, group={self.net.group})"
        )


def _check_windows(edge_index: Tensor, batch: Tensor) -> None:
    """Checks edges that are windows of points."""
    shape = edge_index.shape
    if len(shape) != 2 or shape[0] != 2 or edge_index.dtype != torch.long:
        raise ValueError(
            "'edge_index' must be a tensor of integers (torch.long) of shape (2, edges)"
        )
    inside = (edge_index >= 0) & (edge_index < len(batch))
    if not bool(inside.all()) or bool(batch[edge_index].diff(dim=0).any()):
        raise ValueError(
            f"'edge_index' must join points of one example, of which there are "
            f"{len(batch)} in all"
        )


def _stretches(group: LieGroup) -> bool:
    """Whether vectors are longer or shorter after some moves."""
    generator = torch.Generator().manual_seed(0)
    g = group.sample(8, generator=generator, dtype=torch.float64)
    basis = torch.eye(group.space_dim, dtype=torch.float64)
    moved = group.act_on_vectors(g.unsqueeze(1), basis)
    return bool((moved @ moved.mT - basis).abs().max() > 1e-8)
