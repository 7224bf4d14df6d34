import math
from collections.abc import Sequence
from typing import Any, Optional

import torch
from torch import Tensor

from lieconv_pyg.groups import SO2, SO3, LieGroup
from lieconv_pyg.groups.checks import positive, share
from lieconv_pyg.groups.resolver import check_group
from lieconv_pyg.lifting import Lifted, check_points_and_batch
from lieconv_pyg.nn.inputs import check_rows, check_vectors
from lieconv_pyg.nn.lie_resnet import LieResNet
from lieconv_pyg.nn.pixel_grid import PixelGrid
from lieconv_pyg.nn.resolution import Resolution
from lieconv_pyg.nn.shared_grid import SharedGrid

GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


class ImageLieResNet(torch.nn.Module):
    r"""LieResNet that drops points from block to block, for images as sets of points
    and for other clouds, as in Section 5.1 of `"Generalizing Convolutional Neural
    Networks for Equivariance to Lie Groups on Arbitrary Continuous Data"
    <https://arxiv.org/abs/2002.12880>`_.

    Each block keeps the same share :math:`\rho` of the points, by farthest point
    sampling in the distance of the group. Widths grow by :math:`1 / \sqrt\rho` and the
    shares of points in a neighbourhood by :math:`1 / \rho` a block.

    Where all examples have the same points, as images on a grid of pixels have, lifts,
    kept points, neighbours and pair coordinates are computed once (by
    :meth:`calibrate`, or for the first batch of several examples in training), saved
    with the network, and shared by all examples: the kernel MLP sees each pair once,
    and not once an image. Neighbours that are drawn in training are drawn once for a
    batch. All else, such as superpixels, is computed for each example.

    Args:
        group (LieGroup): A group that acts on the plane, or on space for clouds there.
        in_channels (int, optional): Channels of each point: 1 for grey images, 3 for
            coloured ones. (default: :obj:`1`)
        out_channels (int, optional): Outputs of each example, such as one for each
            class. (default: :obj:`10`)
        hidden_channels (int or Sequence[int], optional): Width of the embedding, from
            which that of the blocks follows, or all widths.
            (default: :obj:`128`)
        num_layers (int, optional): Number of blocks. (default: :obj:`6`)
        total_ratio (float, optional): Share of the points that is left after all
            blocks. (default: :obj:`0.1`)
        fill (float or Sequence[float], optional): Mean share of the points in a
            neighbourhood of the first block, from which that of the others follows, or
            those of all. (default: :obj:`1 / 15`)
        num_neighbors (int, optional): Neighbours drawn from the ball in training;
            :obj:`None` takes all. (default: :obj:`25`)
        num_lifts (int, optional): Lifts of each point. (default: :obj:`1`)
        redraw (int, optional): On a shared grid, lifts and the first of the kept points
            are drawn anew, and what follows from them computed anew, every so many
            steps of the training; in evaluation they are always the first ones. With
            :obj:`None` these serve in training too, as in the original code: then the
            network may learn them by heart, and its symmetry is lost.
            (default: :obj:`20`)
        augment (bool, optional): Rotates each example at random in training: images on
            a grid by bilinear interpolation, other points as they are.
            (default: :obj:`True`)
        num_samples (int, optional): In evaluation, outputs are the mean over so many
            draws of lifts and kept points on a shared grid; where nothing is drawn,
            over so many rotations of the points. (default: :obj:`1`)
        seed (int, optional): For lifts on a shared grid, and for rotations in space.
            (default: :obj:`0`)
        **kwargs (optional): Further arguments of :class:`~lieconv_pyg.nn.LieResNet`,
            such as :obj:`pool`, :obj:`radius` or :obj:`norm`. With :obj:`in_vectors`
            and :obj:`out_vectors` vectors are turned with the points wherever these
            are, and back.

    Shapes:
        - **input:** features :math:`(N, F_{in})`, or :obj:`None` for ones; points
          :math:`(N, d)`; batch vector :math:`(N)` *(optional)*; vectors
          :math:`(N, V, d)` *(if there are any)*
        - **output:** :math:`(B, F_{out})`; :math:`(N, F_{out})` with
          :obj:`pool=None`; with vectors these times :math:`d`

    Example:
        >>> dataset = RotMNIST("data/RotMNIST")
        >>> data = next(iter(DataLoader(dataset, batch_size=25)))
        >>> model = ImageLieResNet(SE2(), num_lifts=2)
        >>> out = model(data.x, data.pos, data.batch)
    """

    def __init__(
        self,
        group: LieGroup,
        in_channels: int = 1,
        out_channels: int = 10,
        hidden_channels: int | Sequence[int] = 128,
        num_layers: int = 6,
        total_ratio: float = 0.1,
        fill: float | Sequence[float] = 1 / 15,
        num_neighbors: Optional[int] = 25,
        num_lifts: int = 1,
        redraw: Optional[int] = 20,
        augment: bool = True,
        num_samples: int = 1,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if check_group(group).space_dim < 2:
            raise ValueError(
                f"images need a group that acts on the plane or on space; {group} acts "
                f"on {group.space_dim} dimension"
            )
        positive(num_layers, "num_layers")
        ratio = share(total_ratio, "total_ratio") ** (1 / num_layers)
        if isinstance(hidden_channels, int):
            width = positive(hidden_channels, "hidden_channels")
            hidden_channels = [
                int(width / ratio ** (i / 2)) for i in range(num_layers + 1)
            ]
        if not isinstance(fill, Sequence):
            fill = [min(1.0, share(fill, "fill") / ratio**i) for i in range(num_layers)]
        if kwargs.get("k") is not None or kwargs.get("radius") is not None:
            fill, num_neighbors = 1.0, None if kwargs.get("k") else num_neighbors
        self.total_ratio = total_ratio
        self.augment = augment
        self.redraw = None if redraw is None else positive(redraw, "redraw")
        self.num_samples = positive(num_samples, "num_samples")
        self.seed = seed
        self.net = LieResNet(
            in_channels,
            out_channels,
            group,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            num_lifts=num_lifts,
            fill=fill,
            num_neighbors=num_neighbors,
            ratio=ratio,
            seed=seed,
            **kwargs,
        )
        kept = ", ".join(f"{part:.4g}" for part in self.net.ratio)
        self.grid = SharedGrid(
            group, f"{group}, num_lifts {num_lifts}, ratio {kept} of each block"
        )

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        self.net.reset_parameters()

    @torch.no_grad()
    def calibrate(self, pos: Tensor, batch: Optional[Tensor] = None) -> None:
        r"""Sets the radii from :obj:`fill`, with some typical examples; where several
        have the same points, keeps what is computed for these.

        Args:
            pos: Points :math:`(N, d)`.
            batch: Batch vector :math:`(N)`.
        """
        batch = check_points_and_batch(pos, batch, self.net.group)
        self._check_counts(batch, int(batch[-1]) + 1)
        shared = shared_points(pos, batch)
        self.grid.clear()
        if shared is None or int(batch[-1]) == 0:
            self.net.calibrate(pos, batch)
            return
        self.net.calibrate(shared)
        self.grid.set(shared, *self._prepare(shared))

    @torch.no_grad()
    def _prepare(self, pos: Tensor, sample: int = 0) -> tuple[Lifted, list[Resolution]]:
        """Lifted points, and resolutions with all neighbours, of points that are
        shared."""
        generator = torch.Generator(pos.device).manual_seed(self.seed + sample)
        turn = None if self._has_draws else self._turn(pos, sample)
        at = pos if turn is None else rotations_of(pos).act(turn, pos)
        mode, self.net.lift.training = self.net.lift.training, True
        try:
            lifted = self.net.lift(at, None, generator)
        finally:
            self.net.lift.training = mode
        start = generator if sample > 0 else None
        return lifted, self.net.resolutions(lifted, draw=False, start=start)

    @property
    def _has_draws(self) -> bool:
        """Whether anything on a shared grid is drawn."""
        drawn = self.net.lift.mode == "haar" and self.net.group.stabilizer_dim > 0
        return drawn or self.total_ratio < 1

    def _turn(self, pos: Tensor, sample: int) -> Optional[Tensor]:
        """The rotation of a sample :math:`(d, d)`, none in the first."""
        if sample == 0:
            return None
        group = rotations_of(pos)
        if isinstance(group, SO2):
            # However many samples there are, they and fixed lifts are spread evenly.
            turn = sample * GOLDEN_RATIO % 1 / self.net.lift.num_lifts
            rotation = group.exp(torch.tensor([2 * math.pi * turn], dtype=pos.dtype))
        else:
            generator = torch.Generator().manual_seed(self.seed + sample)
            rotation = group.sample(generator=generator, dtype=pos.dtype)
        return rotation.to(pos.device)

    def forward(
        self,
        x: Optional[Tensor],
        pos: Tensor,
        batch: Optional[Tensor] = None,
        batch_size: Optional[int] = None,
        generator: Optional[torch.Generator] = None,
        vectors: Optional[Tensor] = None,
    ) -> Tensor:
        r"""Applies the network.

        Args:
            x: Features :math:`(N, F_{in})`, or none for ones at all points. What is the
                same everywhere has no statistics for batch norm: do not give ones.
            pos: Points :math:`(N, d)`.
            batch: Batch vector :math:`(N)`.
            batch_size: Number of examples, if it is known.
            generator: Draws rotations, lifts and neighbours in training.
            vectors: Vectors :math:`(N, V, d)` of the points, for :obj:`in_vectors`.

        Raises:
            ValueError: If the network has a grid that was calibrated, trained on and
                kept, or loaded, and the points are others; or if an example has fewer
                points than are to be left.
        """
        batch = check_points_and_batch(pos, batch, self.net.group)
        size = int(batch[-1]) + 1 if batch_size is None else batch_size
        dtype = self.net.lin_in.weight.dtype
        check_rows(x, pos, batch, size, self.net.in_channels, dtype)
        self._check_counts(batch, size)
        shared = shared_points(pos, batch)
        if self.grid.is_set and (shared is None or not self.grid.fits(shared)):
            if not (self.training and self.grid.is_provisional):
                raise ValueError(
                    f"the network was trained on {len(self.grid.pos)} points that all "
                    "examples share, and these are others: make images in the same "
                    "way, or call 'grid.clear()' for a network of any points"
                )
            self.grid.clear()  # they were shared by some batches only
            shared = None
        useful = self.grid.is_set or (self.training and size > 1)
        turns = self.training and self.augment
        pixels = PixelGrid.of(shared) if turns and shared is not None else None
        if turns and (pixels is None or self.net.pool is None):
            useful = False  # turned images have pixels elsewhere
        if x is None or shared is None or not useful:
            return self._on_points(x, pos, batch, size, generator, vectors)
        on_grid, turn = x.view(size, len(shared), -1), None
        if vectors is not None:
            vectors = check_vectors(vectors, x, self.net.in_vectors, pos.size(1))
            vectors = vectors.unflatten(0, (size, -1))
        if pixels is not None:
            angle = self._angles(shared, size, generator)
            on_grid, turn = pixels.rotate(on_grid, angle), SO2().exp(angle.unsqueeze(1))
            if vectors is not None:
                moved = pixels.rotate(vectors.flatten(2), angle).view_as(vectors)
                vectors = turn_all(turn[:, None, None], moved)
        out = self._on_grid(on_grid, shared, generator, vectors)
        out = out if turn is None else self._turned_back(out, turn)
        return out if self.net.pool else out.flatten(0, 1)

    def _turned_back(self, out: Tensor, turn: Tensor) -> Tensor:
        """Outputs in the position from which points were turned."""
        if not self.net.out_vectors:
            return out
        return turn_all(turn.mT.unsqueeze(-3), out)

    def _on_points(
        self,
        x: Optional[Tensor],
        pos: Tensor,
        batch: Tensor,
        size: int,
        generator: Optional[torch.Generator],
        vectors: Optional[Tensor],
    ) -> Tensor:
        """The outputs, with points of its own for each example."""

        def at(turn: Optional[Tensor]) -> Tensor:
            settings = dict(batch_size=size, generator=generator)
            if turn is None:
                return self.net(x, pos, batch, vectors=vectors, **settings)
            each = turn if turn.dim() == 2 else turn[batch]
            moved = vectors
            if vectors is not None:
                moved = turn_all(each.unsqueeze(-3), vectors)
            where = rotations_of(pos).act(each, pos)
            out = self.net(x, where, batch, vectors=moved, **settings)
            return self._turned_back(out, turn if self.net.pool else each)

        if self.training:
            return at(self._rotations(pos, size, generator) if self.augment else None)
        out = [at(self._turn(pos, sample)) for sample in range(self.num_samples)]
        return torch.stack(out).mean(0)

    def _on_grid(
        self,
        x: Tensor,
        pos: Tensor,
        generator: Optional[torch.Generator],
        vectors: Optional[Tensor],
    ) -> Tensor:
        """The outputs, of features :math:`(B, n, F)` on the same points."""
        if not self.training:
            out = []
            for sample in range(self.num_samples):
                lifted, found = self.grid.found(sample, self._prepare)
                found, moved = self.net.draw(found), vectors
                turn = None if self._has_draws else self._turn(pos, sample)
                if turn is not None and vectors is not None:
                    moved = turn_all(turn, vectors)
                one = self.net(x, lifted=lifted, graph=found, vectors=moved)
                out.append(one if turn is None else self._turned_back(one, turn))
            return torch.stack(out).mean(0)
        if not self.grid.is_set:
            self.grid.set(pos, *self._prepare(pos), provisional=True)
        every = self.redraw if self._has_draws else None
        lifted, found = self.grid.drawn(every, self._prepare)
        found = self.net.draw(found, generator)
        return self.net(
            x, lifted=lifted, graph=found, vectors=vectors, generator=generator
        )

    @staticmethod
    def _rotations(
        pos: Tensor, number: int, generator: Optional[torch.Generator]
    ) -> Tensor:
        """Random rotations :math:`(B, d, d)`."""
        return rotations_of(pos).sample(
            number, generator=generator, dtype=pos.dtype, device=pos.device
        )

    def _angles(
        self, pos: Tensor, number: int, generator: Optional[torch.Generator]
    ) -> Tensor:
        """Random angles :math:`(B)` of the plane."""
        return SO2().log(self._rotations(pos, number, generator)).squeeze(-1)

    def _check_counts(self, batch: Tensor, size: int) -> None:
        """Checks that examples have as many points as it takes."""
        counts = torch.bincount(batch, minlength=size)
        least = int(counts.argmin())
        if float(counts[least]) * self.total_ratio < 1 - 1e-6:
            raise ValueError(
                f"example {least} has {int(counts[least])} points, and of these "
                f"'total_ratio={self.total_ratio:g}' is to be left after all blocks, "
                "which is less than one: give more points, or a larger 'total_ratio'"
            )

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.net})"


def shared_points(pos: Tensor, batch: Tensor) -> Optional[Tensor]:
    """The points :math:`(n, d)` that all examples have, in the same order; none if
    they differ."""
    size = int(batch[-1]) + 1
    number = len(pos) // size
    even = torch.arange(size, device=batch.device).repeat_interleave(number)
    if not torch.equal(batch, even):
        return None
    points = pos.view(size, number, -1)
    return points[0] if bool((points == points[0]).all()) else None


def rotations_of(pos: Tensor) -> SO2 | SO3:
    """The rotations of the plane or of space.

    Raises:
        ValueError: If the points are neither of the plane nor of space.
    """
    if pos.size(-1) not in (2, 3):
        raise ValueError(
            "points are rotated in the plane or in space, and these have "
            f"{pos.size(-1)} coordinates: set augment=False and num_samples=1"
        )
    return SO2() if pos.size(-1) == 2 else SO3()


def turn_all(rotation: Tensor, v: Tensor) -> Tensor:
    r"""Vectors :math:`(*, d)` turned by rotations :math:`(*, d, d)`; leading shapes
    broadcast."""
    return rotations_of(v).act_on_vectors(rotation.to(v.dtype), v)
