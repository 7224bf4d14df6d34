"""Training of classifiers, whatever they classify."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data
from torchmetrics import MeanMetric

from lieconv_pyg.training.base import NetworkModule


class ClassifierModule(NetworkModule):
    r"""Trains a network to tell classes, by the cross entropy of its outputs. Adam,
    with a linear warm-up and a cosine to 0 by step.

    It logs the loss, and the error: the share of examples in %, of which another class
    has the largest output.

    Args:
        network: The network.
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
        lr: float,
        warmup: float,
        symmetry_weight: float = 0.0,
    ) -> None:
        super().__init__(network, lr, warmup, symmetry_weight)
        self._num_classes: int | None = None
        self.metrics = torch.nn.ModuleDict(
            {
                f"{stage}_{name}": MeanMetric(nan_strategy="disable")
                for stage in ("val", "test")
                for name in ("loss", "error")
            }
        )

    def setup(self, stage: str) -> None:
        """Checks the data against the network; before training, has it set its
        radii."""
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            return
        self.check(data)
        self._num_classes = data.num_classes
        if stage == "fit":
            batch = data.calibration_batch()
            self.calibrate(self._to_network(batch.pos), batch.batch)

    @abstractmethod
    def check(self, data: Any) -> None:
        """Checks that network and data go together."""

    @abstractmethod
    def outputs_of(self, batch: Data) -> Tensor:
        """The network's outputs (B, C) for a batch, in single precision or above."""

    def _to_network(self, pos: Tensor) -> Tensor:
        """Points in the precision in which the network takes them."""
        return pos.to(self._network_dtype)

    @property
    def _network_dtype(self) -> Any:
        """That of the weights, which may be another than Lightning knows of."""
        return next((p.dtype for p in self.network.parameters()), self.dtype)

    def _of_batch(self, batch: Data) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs of a batch, the loss of each example, and which err, in %."""
        out = self.outputs_of(batch)
        wanted = batch.num_graphs, self._num_classes or out.size(-1)
        if out.shape != wanted:
            raise ValueError(
                f"{type(self.network).__name__} gives {tuple(out.shape)} where an "
                f"output for each example and class is needed, {wanted}"
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
        return loss + self.penalty()

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
        """The probability of each class for each example (B, C)."""
        return self.outputs_of(batch).softmax(1)
