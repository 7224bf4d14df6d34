"""One progress bar for a whole run."""

from __future__ import annotations

import sys
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm  # type: ignore[import-untyped]


class RunProgress(ProgressBar):
    r"""A bar over all steps of the training, with the epoch, the loss and the
    validation error, instead of a bar for each epoch.

    Args:
        unit (str, optional): Unit of the error. (default: :obj:`""`)
    """

    def __init__(self, unit: str = "") -> None:
        super().__init__()
        self.unit = unit
        self._bar: tqdm | None = None
        self._enabled = True

    def disable(self) -> None:
        """Shows nothing (Lightning calls it on all processes but the first)."""
        self._enabled = False

    def enable(self) -> None:
        """Shows the bar."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the bar."""
        super().on_train_start(trainer, pl_module)
        total = trainer.estimated_stepping_batches
        self._bar = tqdm(
            desc="training",
            total=int(total) if total != float("inf") else None,
            initial=_steps(trainer),
            unit="step",
            disable=not self._enabled,
            dynamic_ncols=True,
            # A file or a pipe has no line to write over.
            mininterval=0.1 if sys.stderr.isatty() else 10.0,
        )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Moves on to the step that is done."""
        if self._bar is not None:
            self._bar.update(_steps(trainer) - self._bar.n)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows epoch, loss and validation error."""
        if self._bar is None:
            return
        metrics = trainer.callback_metrics
        shown = [f"epoch {trainer.current_epoch + 1}"]
        if "train/loss" in metrics:
            shown.append(f"loss {float(metrics['train/loss']):.3g}")
        if "val/mae" in metrics:
            shown.append(f"val MAE {float(metrics['val/mae']):.4g} {self.unit}".strip())
        elif "val/error" in metrics:
            shown.append(f"val error {float(metrics['val/error']):.3g} %")
        elif "val/loss" in metrics:
            shown.append(f"val loss {float(metrics['val/loss']):.3g}")
        self._bar.set_postfix_str(", ".join(shown), refresh=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leaves the bar as it is."""
        self._close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leaves the bar as it is."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _steps(trainer: Trainer) -> int:
    """The steps that are done: Lightning counts those of each optimizer."""
    return trainer.global_step // max(len(trainer.optimizers), 1)
