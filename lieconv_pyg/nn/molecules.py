from collections.abc import Sequence
from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.utils import scatter

from lieconv_pyg.groups import SO3, LieGroup
from lieconv_pyg.groups.resolver import check_group
from lieconv_pyg.lifting import check_points_and_batch
from lieconv_pyg.nn.lie_resnet import LieResNet


class MoleculeLieResNet(torch.nn.Module):
    r"""LieResNet on molecules, as in Section 5.2 of `"Generalizing Convolutional Neural
    Networks for Equivariance to Lie Groups on Arbitrary Continuous Data"
    <https://arxiv.org/abs/2002.12880>`_.

    The features of an atom are its one-hot species times :math:`(1, c, c^2)`, where
    :math:`c` is its atomic number over the largest one.

    Args:
        group (LieGroup): A group that acts on space, such as :obj:`T(3)` or
            :obj:`SE3()`.
        out_channels (int, optional): Outputs of each molecule. (default: :obj:`1`)
        species (Sequence[int], optional): The atomic numbers that may occur.
            (default: those of QM9)
        hidden_channels (int or Sequence[int], optional): Width. The published one is
            1536. (default: :obj:`256`)
        num_layers (int, optional): Number of blocks. (default: :obj:`6`)
        augment (bool, optional): Rotates each molecule at random in training and moves
            it by a normal of standard deviation :obj:`augment_translation`.
            (default: :obj:`True`)
        augment_translation (float, optional): In the units of scaled positions.
            (default: :obj:`0.5`)
        center (bool, optional): Puts the centroid of each molecule into the origin
            first. (default: :obj:`True`)
        pos_scale (float, optional): Positions are divided by it; for SO(3) and SE(3)
            the published runs take their standard deviation. A :obj:`radius` is in
            the units of the scaled positions. (default: :obj:`1.0`)
        out_vectors (bool, optional): If :obj:`True`, outputs are vectors in space, such
            as dipoles, see :class:`~lieconv_pyg.nn.LieResNet`: those of the molecule
            as it was given, also where :obj:`augment` has turned it. With
            :obj:`center` they do not depend on where it is, as is right for the
            dipoles of neutral molecules. (default: :obj:`False`)
        in_vectors (int, optional): Number :math:`V` of vectors of each atom, such as
            velocities, see there; :obj:`augment` turns them too. (default: :obj:`0`)
        **kwargs (optional): Further arguments of :class:`~lieconv_pyg.nn.LieResNet`,
            such as :obj:`fill`, :obj:`num_lifts`, or :obj:`pool="sum"` for extensive
            targets.

    Shapes:
        - **input:** atomic numbers :math:`(N)`, positions :math:`(N, 3)` (in Å for
          the datasets of this package), batch vector :math:`(N)` *(optional)*,
          vectors :math:`(N, V, 3)` *(if there are any)*
        - **output:** :math:`(B, F_{out})`; with vectors :math:`(B, F_{out}, 3)`, or
          :math:`(B, 3)` for one
    """

    species: Tensor
    row_of: Tensor

    def __init__(
        self,
        group: LieGroup,
        out_channels: int = 1,
        species: Sequence[int] = (1, 6, 7, 8, 9),
        hidden_channels: int | Sequence[int] = 256,
        num_layers: int = 6,
        augment: bool = True,
        augment_translation: float = 0.5,
        center: bool = True,
        pos_scale: float = 1.0,
        out_vectors: bool = False,
        in_vectors: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if check_group(group).space_dim != 3:
            raise ValueError(
                f"molecules need a group that acts on space, such as 'T(3)' or "
                f"'SE3()'; {group} acts on {group.space_dim} dimensions"
            )
        if not species or min(species) < 1 or len(set(species)) != len(species):
            raise ValueError(
                f"'species' must be different atomic numbers (got {tuple(species)})"
            )
        if not pos_scale > 0:
            raise ValueError(f"'pos_scale' must be positive (got {pos_scale})")
        self.augment = augment
        self.augment_translation = augment_translation
        self.center = center
        self.pos_scale = pos_scale
        self.out_vectors = out_vectors
        numbers = torch.tensor(list(species))
        row_of = torch.full((int(numbers.max()) + 1,), -1)
        row_of[numbers] = torch.arange(len(numbers))
        self.register_buffer("species", numbers)
        self.register_buffer("row_of", row_of)
        self.net = LieResNet(
            3 * len(numbers),
            out_channels,
            group,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            out_vectors=out_vectors,
            in_vectors=in_vectors,
            **kwargs,
        )

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        self.net.reset_parameters()

    def features(self, z: Tensor) -> Tensor:
        """Features :math:`(N, 3S)` of atoms with the atomic numbers :math:`(N)`.

        Raises:
            ValueError: for atomic numbers that the model was not built for.
        """
        z = z.long()
        row = self.row_of[z.clamp(0, self.row_of.numel() - 1)]
        unknown = (row < 0) | (z >= self.row_of.numel()) | (z < 0)
        if bool(unknown.any()):
            raise ValueError(
                f"'z' has the atomic numbers {sorted(set(z[unknown].tolist()))}; the "
                f"model was built for 'species={tuple(self.species.tolist())}'"
            )
        dtype = self.net.lin_in.weight.dtype
        charge = z.to(dtype) / (self.row_of.numel() - 1)
        powers = torch.stack([torch.ones_like(charge), charge, charge**2], dim=-1)
        one_hot = F.one_hot(row, self.species.numel()).to(dtype)
        return (one_hot.unsqueeze(2) * powers.unsqueeze(1)).flatten(1)

    def _place(self, pos: Tensor, batch: Tensor, batch_size: int) -> Tensor:
        """Centred and scaled positions."""
        if self.center:
            pos = pos - scatter(pos, batch, 0, batch_size, "mean")[batch]
        return pos / self.pos_scale

    def _augment(
        self,
        pos: Tensor,
        batch: Tensor,
        batch_size: int,
        generator: Optional[torch.Generator],
    ) -> tuple[Tensor, Tensor]:
        """Positions moved by a translation and a rotation of each molecule, and the
        rotations."""
        like: dict[str, Any] = {"dtype": pos.dtype, "device": pos.device}
        rotation = SO3().sample(batch_size, generator=generator, **like)
        shift = torch.randn(batch_size, 3, generator=generator, **like)
        pos = pos + self.augment_translation * shift[batch]
        return (rotation[batch] * pos.unsqueeze(1)).sum(-1), rotation

    @torch.no_grad()
    def calibrate(self, pos: Tensor, batch: Optional[Tensor] = None) -> None:
        r"""Sets the radii from :obj:`fill`, with some typical molecules.

        Args:
            pos: Positions :math:`(N, 3)`.
            batch: Batch vector :math:`(N)`.
        """
        batch = check_points_and_batch(pos, batch, self.net.group)
        pos = self._place(pos, batch, int(batch[-1]) + 1)
        self.net.calibrate(pos, batch)

    def forward(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Optional[Tensor] = None,
        batch_size: Optional[int] = None,
        generator: Optional[torch.Generator] = None,
        vectors: Optional[Tensor] = None,
    ) -> Tensor:
        r"""Applies the network.

        Args:
            z: Atomic numbers :math:`(N)`.
            pos: Positions :math:`(N, 3)`.
            batch: Batch vector :math:`(N)`.
            batch_size: Number of molecules, if it is known.
            generator: Draws augmentation, lifts and neighbours in training.
            vectors: Vectors :math:`(N, V, 3)` of the atoms, for :obj:`in_vectors`.
        """
        batch = check_points_and_batch(pos, batch, self.net.group)
        if not isinstance(z, Tensor) or z.dim() != 1 or z.is_floating_point():
            raise TypeError(
                "'z' must be a tensor of integers of shape (atoms,), the atomic number "
                "of each atom"
            )
        if z.size(0) != pos.size(0):
            raise ValueError(f"'z' has {z.size(0)} atoms, 'pos' has {pos.size(0)}")
        if batch_size is None:
            batch_size = int(batch[-1]) + 1
        x = self.features(z)
        pos = self._place(pos, batch, batch_size)
        rotation: Optional[Tensor] = None
        if self.training and self.augment:
            pos, rotation = self._augment(pos, batch, batch_size, generator)
            if vectors is not None:
                each = rotation[batch].unsqueeze(1)
                vectors = SO3().act_on_vectors(each, vectors)
        settings: dict[str, Any] = dict(batch_size=batch_size, generator=generator)
        out = self.net(x, pos, batch, vectors=vectors, **settings)
        if not self.out_vectors:
            return out
        if rotation is not None:
            rotation = rotation[batch] if self.net.pool is None else rotation
            out = SO3().act_on_vectors(rotation.mT.unsqueeze(1), out)
        return out.squeeze(1)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.net})"
