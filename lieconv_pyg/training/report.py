"""What a run leaves, whatever its data are: history and time."""

from __future__ import annotations

import math
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


def model_name(network: torch.nn.Module) -> str:
    """Name of a network for tables: its class, and its group if it has one."""
    inner = getattr(network, "net", network)
    group = getattr(network, "group", getattr(inner, "group", None))
    name = type(network).__name__
    return name if group is None else f"{name} {group}"


class RunReport(Callback):
    r"""Keeps the errors and the time of each epoch. A subclass does so with those of
    the test, and writes files.

    Args:
        folder (path, optional): Where to write; :obj:`None` writes nothing.
    """

    #: What is kept of each epoch: the errors in training and in validation.
    errors = ("train/loss", "val/loss")
    #: What is best where it is smallest, and stops a run that gets no better.
    monitor = "val/loss"

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.history: list[tuple[float, float, float]] = []
        self.files: list[Path] = []
        self.seconds: float | None = None
        self._started: float | None = None
        self._before = 0.0  # the run that is resumed
        self.loaded_epoch: int | None = None  # of the checkpoint that was loaded last
        self._epochs: list[float] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._started = time.perf_counter() - self._before

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock."""
        self.seconds = self._elapsed()

    def _elapsed(self) -> float:
        if self._started is None:
            return self._before
        return time.perf_counter() - self._started

    def on_train_epoch_start(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Starts the clock of the epoch."""
        self._epochs.append(-time.perf_counter())

    @property
    def epoch_seconds(self) -> float:
        """Median time of an epoch with its validation."""
        return statistics.median(self._epochs or [math.nan])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes the errors of the epoch."""
        if self._epochs:  # a run that goes on within an epoch did not see its start
            self._epochs[-1] += time.perf_counter()
        metrics = trainer.callback_metrics
        row = [float(metrics.get(key, "nan")) for key in self.errors]
        self.history.append((trainer.current_epoch + 1, row[0], row[1]))

    @property
    def state_key(self) -> str:
        """Its name in checkpoints."""
        return "RunReport"

    def state_dict(self) -> dict[str, Any]:
        """The history and the time, so that a resumed run has them whole."""
        history = [list(row) for row in self.history]
        return {"history": history, "seconds": self._elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the history of the run that is resumed; the best checkpoint's, which
        the test loads, ends too early."""
        if not self.history:
            self.history = [(row[0], row[1], row[2]) for row in state_dict["history"]]
            self._before = state_dict.get("seconds", 0.0)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Notes which epoch is resumed or tested."""
        self.loaded_epoch = checkpoint["epoch"] + 1


class OutputsReport(RunReport):
    r"""One that collects what the module's :meth:`test_step` returns, in
    :obj:`_outputs`.

    Args:
        folder (path, optional): Where to write; :obj:`None` writes nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder)
        self._outputs: list[dict[str, Any]] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forgets the outputs of an earlier test."""
        self._outputs = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any
    ) -> None:
        """Keeps the outputs of a batch."""
        self._outputs.append(outputs)
