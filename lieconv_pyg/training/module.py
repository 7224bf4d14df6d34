"""Training of a network on one target of molecules."""

from __future__ import annotations

import warnings
from typing import Any, cast

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor
from torch_geometric.data import Data
from torchmetrics import MeanAbsoluteError

from lieconv_pyg.datasets import Statistics, Target
from lieconv_pyg.datasets.targets import NUM_ELEMENTS
from lieconv_pyg.training.schedule import warmup_cosine_scheduler


class MoleculeModule(LightningModule):
    r"""Trains a network with an L1 loss on the normalised target.

    .. math::
        \mathcal{L} = \left| f(z, x) - \frac{y - \sum_a e(z_a) - m}{s} \right|

    with the references :math:`e`, the median :math:`m` and the median absolute
    deviation :math:`s` of the training molecules. They are buffers, saved with the
    weights, as is the radius, which is calibrated on the first training molecules
    before the first step. Adam, with a linear warm-up and a cosine to 0 by step.

    Args:
        network: Any module with ``forward(z, pos, batch)`` that returns one value for
            each molecule, (B, 1). If it has ``calibrate(pos, batch)``, that is called
            before training. If it has ``species``, the data must keep to them.
        lr: Learning rate of Adam.
        warmup: Share of the steps in which the learning rate rises.
    """

    median: Tensor
    mad: Tensor
    references: Tensor

    def __init__(
        self, network: torch.nn.Module, lr: float = 3e-3, warmup: float = 0.01
    ) -> None:
        super().__init__()
        if not lr > 0:
            raise ValueError(f"lr must be positive, got {lr}")
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup must be in [0, 1), got {warmup}")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*is an instance of `nn.Module`.*")
            self.save_hyperparameters(logger=False)
        if isinstance(self.hparams.get("network"), torch.nn.Module):
            # Built in Python: its weights are saved, its arguments are not known. From
            # the command line, the entry is its configuration.
            del self.hparams["network"]
        self.network = network
        self.lr = lr
        self.warmup = warmup
        self.target: Target | None = None
        zero = torch.zeros((), dtype=torch.float64)
        self.register_buffer("median", zero)
        self.register_buffer("mad", torch.ones_like(zero))
        self.register_buffer("references", zero.repeat(NUM_ELEMENTS))
        self.val_mae = MeanAbsoluteError()
        self.test_mae = MeanAbsoluteError()

    def set_target(self, target: Target, statistics: Statistics) -> None:
        """Takes over what the network's output stands for."""
        self.target = target
        self.median.fill_(statistics.median)
        self.mad.fill_(statistics.mad)
        self.references.copy_(statistics.references)

    def setup(self, stage: str) -> None:
        """Checks the data against the network; before training, sets statistics
        and radius."""
        data = getattr(self.trainer, "datamodule", None)
        if data is None or not hasattr(data, "statistics"):
            return
        check_species(self.network, data.elements())
        if stage != "fit":
            return
        self.set_target(data.target, data.statistics)
        calibrate: Any = getattr(self.network, "calibrate", None)
        if calibrate is not None:
            batch = data.calibration_batch().to(self.device)
            calibrate(batch.pos, batch.batch)

    def offset(self, z: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        r"""References plus median, :math:`\sum_a e(z_a) + m`: (B), float64."""
        total = self.references.new_zeros(num_graphs)
        return total.index_add(0, batch, self.references[z]) + self.median

    def forward(self, z: Tensor, pos: Tensor, batch: Tensor | None = None) -> Tensor:
        """The target of each molecule in its unit: (B), float64."""
        if batch is None:
            batch = torch.zeros_like(z)
        out = self._network(z, pos, batch).to(self.mad.dtype)
        return out * self.mad + self.offset(z, batch, out.size(0))

    def _network(self, z: Tensor, pos: Tensor, batch: Tensor) -> Tensor:
        """The network's output (B), in float64 where the network is."""
        pos = pos.to(torch.promote_types(pos.dtype, cast(torch.dtype, self.dtype)))
        return self.network(z, pos, batch).squeeze(-1)

    def _normalised(self, batch: Data) -> tuple[Tensor, Tensor]:
        """The network's output and what it should be, (B) each."""
        out = self._network(batch.z, batch.pos, batch.batch)
        offset = self.offset(batch.z, batch.batch, batch.num_graphs)
        y = (batch.y.view(-1) - offset) / self.mad
        return out, y.to(torch.promote_types(out.dtype, torch.float32))

    def training_step(self, batch: Data, batch_idx: int) -> Tensor:
        """The L1 loss on normalised targets."""
        out, y = self._normalised(batch)
        loss = F.l1_loss(out.to(y.dtype), y)
        errors = {
            "train/loss": loss.detach(),
            "train/mae": loss.detach() * self.mad.to(loss.dtype),
        }
        self.log_dict(
            errors, on_step=False, on_epoch=True, batch_size=len(y), sync_dist=True
        )
        return loss

    def _evaluate(self, batch: Data, metric: MeanAbsoluteError, name: str) -> Tensor:
        out, y = self._normalised(batch)
        mad = self.mad.to(y.dtype)
        metric.update(out.to(y.dtype) * mad, y * mad)
        self.log(name, metric, on_step=False, on_epoch=True, batch_size=len(y))
        return out

    def validation_step(self, batch: Data, batch_idx: int) -> None:
        """The mean absolute error in the target's unit."""
        self._evaluate(batch, self.val_mae, "val/mae")

    def test_step(self, batch: Data, batch_idx: int) -> dict[str, Any]:
        """The mean absolute error; returns target, prediction and the offset."""
        out = self._evaluate(batch, self.test_mae, "test/mae")
        offset = self.offset(batch.z, batch.batch, batch.num_graphs)
        return {
            "name": list(batch.name),
            "target": batch.y.view(-1).cpu(),
            "prediction": (out.to(self.mad.dtype) * self.mad + offset).cpu(),
            "offset": offset.cpu(),
        }

    def predict_step(self, batch: Data, batch_idx: int) -> Tensor:
        """The target of each molecule in its unit."""
        return self(batch.z, batch.pos, batch.batch)

    def configure_optimizers(self) -> Any:
        """Adam with warm-up and cosine over the whole run."""
        num_steps = self.trainer.estimated_stepping_batches
        if num_steps == float("inf"):
            raise ValueError(
                "trainer.max_epochs or trainer.max_steps must be set: the learning "
                "rate falls to 0 at the end of the run"
            )
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        scheduler = warmup_cosine_scheduler(optimizer, int(num_steps), self.warmup)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the target, as plain values."""
        if self.target is not None:
            keys = ("name", "unit", "extensive", "description")
            checkpoint["target"] = {k: getattr(self.target, k) for k in keys}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the target; refuses another than the data's."""
        if "target" not in checkpoint:
            return
        self.target = Target(**checkpoint["target"])
        data = getattr(self._trainer, "datamodule", None)
        wanted = getattr(data, "target", self.target)
        if (wanted.name, wanted.unit) != (self.target.name, self.target.unit):
            raise ValueError(
                f"the checkpoint is for the target {self.target.label}, the data "
                f"have {wanted.label}: set data.target to the checkpoint's"
            )


def check_species(network: torch.nn.Module, elements: list[int]) -> None:
    r"""Checks that a network knows the elements of the data.

    Raises:
        ValueError: If its :obj:`species` lack some of them.
    """
    species = getattr(network, "species", None)
    if species is None:
        return
    known = species.tolist() if isinstance(species, Tensor) else list(species)
    missing = sorted(set(elements) - set(known))
    if missing:
        raise ValueError(
            f"the network was not built for the atomic numbers {missing}: set its "
            f"species to {sorted(set(known) | set(elements))}"
        )
