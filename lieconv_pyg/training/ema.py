"""An exponential moving average of the weights."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class EMA(WeightAveraging):
    r"""Keeps an exponential moving average of the weights, with which validation and
    test are done and which is what a checkpoint holds.

    After :math:`n` steps the decay is :math:`\min(d, (1 + n) / (10 + n))`, so that the
    first, poor weights are forgotten. Running statistics of batch norms are averaged
    as the weights are; counters and tables are copied.

    Args:
        decay: :math:`d`, such as 0.999.

    Raises:
        ValueError: If the decay is outside (0, 1).
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"ema must be in (0, 1), such as 0.999, got {decay}")
        super().__init__(avg_fn=self._average)
        self.decay = decay

    def _average(self, average: Tensor, current: Tensor, count: Tensor) -> Tensor:
        if not average.is_floating_point():
            return current
        decay = ((1 + count) / (10 + count)).clamp(max=self.decay)
        mean = average + (1 - decay.to(average.dtype)) * (current - average)
        # Where both are equal (references, a radius, which may be infinite), so is it.
        return torch.where(average == current, current, mean)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins with the weights and the radius that the module's set-up has left."""
        assert self._average_model is not None
        if self._average_model.n_averaged == 0:
            self._average_model.module.load_state_dict(pl_module.state_dict())

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Goes on averaging when a run is resumed; in a test after the training the
        averaged weights stay."""
        if trainer.state.fn == "fit":
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
