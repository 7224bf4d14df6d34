"""Training of a classifier of images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from lieconv_pyg.checkpoints import stamp
from lieconv_pyg.training.classifier import ClassifierModule


class ImageModule(ClassifierModule):
    r"""Trains a network to tell classes of images, by the cross entropy of its outputs.
    Adam, with a linear warm-up and a cosine to 0 by step.

    It logs the loss, and the error: the share of images in %, of which another class
    has the largest output. What is best is the epoch with the smallest error in
    validation.

    Args:
        network: Any module with ``forward(x, pos, batch, batch_size)`` that returns a
            number for each class, (B, C). If it has ``calibrate(pos, batch)``, that is
            called before training. If it has ``in_channels`` and ``out_channels``,
            the data must have so many channels and classes.
        lr: Learning rate of Adam.
        warmup: Share of the steps in which the learning rate rises.
        symmetry_weight: Weight, in the loss of training, of the penalties and priors of
            relaxed layers (:class:`~lieconv_pyg.nn.RelaxedLieConv`,
            :class:`~lieconv_pyg.nn.RPPLieConv`), if the network has any.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        lr: float = 3e-3,
        warmup: float = 0.01,
        symmetry_weight: float = 1e-4,
    ) -> None:
        super().__init__(network, lr, warmup, symmetry_weight)

    def check(self, data: Any) -> None:
        r"""Checks that network and data go together.

        Raises:
            ValueError: If the network was built for another number of channels or
                classes, was trained on other points, leaves less than one of them, or
                has a group that does not act on the plane.
        """
        inner = getattr(self.network, "net", self.network)
        for name, number, what in (
            ("in_channels", data.num_channels, "the number of channels"),
            ("out_channels", data.num_classes, "the number of classes"),
        ):
            built = getattr(self.network, name, getattr(inner, name, number))
            if built != number:
                raise ValueError(
                    f"the network was built for {name} {built}, and {what} in "
                    f"{data.dataset} is {number}: leave {name} out, it follows from "
                    "the data"
                )
        group = getattr(inner, "group", None)
        if group is not None and group.space_dim != 2:
            raise ValueError(
                f"images are in the plane, and {group} acts on {group.space_dim} "
                "dimensions: take another group, such as SE2"
            )
        pos = data.parts[0].pos.to(self._network_dtype)
        grid = getattr(self.network, "grid", None)
        if grid is not None and grid.is_set and not grid.fits(pos.to(grid.pos.device)):
            raise ValueError(
                f"the network was trained on {len(grid.pos)} points, and the images "
                f"have {len(pos)}, or others: leave crop and spacing as they were"
            )
        left = getattr(self.network, "total_ratio", 1.0) * len(pos)
        if left < 1 - 1e-6:
            raise ValueError(
                f"total_ratio {self.network.total_ratio:g} leaves none of {len(pos)} "
                "points: take a larger one"
            )

    def forward(
        self,
        x: Tensor | None,
        pos: Tensor,
        batch: Tensor | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """The probability of each class for each image (B, C)."""
        return self._outputs(x, pos, batch, batch_size).softmax(1)

    def _outputs(
        self,
        x: Tensor | None,
        pos: Tensor,
        batch: Tensor | None,
        batch_size: int | None,
    ) -> Tensor:
        """The network's outputs (B, C), in single precision or above."""
        dtype = self._network_dtype
        x = None if x is None else x.to(dtype)
        out = self.network(x, pos.to(dtype), batch, batch_size)
        return out.to(torch.promote_types(out.dtype, torch.float32))

    def outputs_of(self, batch: Data) -> Tensor:
        """The network's outputs (B, C) for a batch, in single precision or above."""
        return self._outputs(batch.x, batch.pos, batch.batch, batch.num_graphs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the version of the package."""
        stamp(checkpoint, "images")
