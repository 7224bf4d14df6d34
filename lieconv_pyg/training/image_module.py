"""Training of a classifier of images."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data
from torchmetrics import MeanMetric

from lieconv_pyg.checkpoints import stamp
from lieconv_pyg.training.base import NetworkModule


class ImageModule(NetworkModule):
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

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self, network: torch.nn.Module, lr: float = 3e-3, warmup: float = 0.01
    ) -> None:
        super().__init__(network, lr, warmup)
        self._num_classes: int | None = None
        self.metrics = torch.nn.ModuleDict(
            {
                f"{stage}_{name}": MeanMetric(nan_strategy="disable")
                for stage in ("val", "test")
                for name in ("loss", "error")
            }
        )

    def setup(self, stage: str) -> None:
        """Checks the data against the network; before training, sets radii and the
        grid that the images share."""
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            return
        self.check(data)
        self._num_classes = data.num_classes
        if stage == "fit":
            batch = data.calibration_batch()
            self.calibrate(batch.pos.to(self._network_dtype), batch.batch)

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

    @property
    def _network_dtype(self) -> Any:
        """That of the weights, which may be another than Lightning knows of."""
        return next((p.dtype for p in self.network.parameters()), self.dtype)

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

    def _of_batch(self, batch: Data) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs of a batch, the loss of each image, and which are in error, in %."""
        out = self._outputs(batch.x, batch.pos, batch.batch, batch.num_graphs)
        wanted = batch.num_graphs, self._num_classes or out.size(-1)
        if out.shape != wanted:
            raise ValueError(
                f"{type(self.network).__name__} gives {tuple(out.shape)} where an "
                f"output for each image and class is needed, {wanted}"
            )
        loss = F.cross_entropy(out, batch.y, reduction="none")
        return out, loss, 100.0 * (out.detach().argmax(1) != batch.y)

    def training_step(self, batch: Data, batch_idx: int) -> Tensor:
        """The cross entropy."""
        _, losses, wrong = self._of_batch(batch)
        loss = losses.mean()
        self.log_dict(
            {"train/loss": loss.detach(), "train/error": wrong.mean()},
            on_step=False,
            on_epoch=True,
            batch_size=batch.num_graphs,
            sync_dist=True,
        )
        self._divergence.note(loss.detach(), batch)
        return loss

    def _evaluate(self, batch: Data, stage: str) -> tuple[Tensor, Tensor]:
        out, losses, wrong = self._of_batch(batch)
        for name, values in (("loss", losses.detach()), ("error", wrong)):
            metric = cast(MeanMetric, self.metrics[f"{stage}_{name}"])
            metric.update(values)
            self.log(f"{stage}/{name}", metric, on_step=False, on_epoch=True)
        return out.detach(), losses.detach().mean()

    def validation_step(self, batch: Data, batch_idx: int) -> None:
        """Loss and error."""
        self._validation.note(self._evaluate(batch, "val")[1], batch)

    def test_step(self, batch: Data, batch_idx: int) -> dict[str, Tensor]:
        """Loss and error; returns probabilities (B, C) and labels (B)."""
        out, _ = self._evaluate(batch, "test")
        return {"probability": out.softmax(1).cpu(), "label": batch.y.cpu()}

    def predict_step(self, batch: Data, batch_idx: int) -> Tensor:
        """The probability of each class for each image (B, C)."""
        return self(batch.x, batch.pos, batch.batch, batch.num_graphs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the version of the package."""
        stamp(checkpoint, "images")
