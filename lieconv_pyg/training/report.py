"""What a run leaves: predictions, figures, history."""

from __future__ import annotations

import math
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lieconv_pyg.training.plots import learning_curve, parity_plot
from lieconv_pyg.training.processes import gather
from lieconv_pyg.training.results import Predictions

_SHORT = {"qm9": "QM9", "g2": "G2"}


def model_name(network: torch.nn.Module) -> str:
    """Name of a network for tables: its class, and its group if it has one."""
    inner = getattr(network, "net", network)
    group = getattr(inner, "group", None)
    name = type(network).__name__
    return name if group is None else f"{name} {group}"


class RunReport(Callback):
    r"""Keeps the errors of each epoch and the test predictions, and writes them as
    ``predictions.csv``, ``parity.png`` and ``learning_curve.png``.

    Args:
        folder (path, optional): Where to write; :obj:`None` writes nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.history: list[tuple[float, float, float]] = []
        self.predictions: Predictions | None = None
        self.files: list[Path] = []
        self.seconds: float | None = None
        self._started: float | None = None
        self._before = 0.0  # the run that is resumed
        self.loaded_epoch: int | None = None  # of the checkpoint that was loaded last
        self._epochs: list[float] = []
        self._outputs: list[dict[str, Any]] = []

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
        row = [float(metrics.get(key, "nan")) for key in ("train/mae", "val/mae")]
        self.history.append((trainer.current_epoch + 1, row[0], row[1]))

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

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forgets the predictions of an earlier test."""
        self._outputs = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any
    ) -> None:
        """Collects what :meth:`MoleculeModule.test_step` returns."""
        self._outputs.append(outputs)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the predictions together and writes the files, on the first process."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        names, values = _in_order(self._outputs, _indices(trainer))
        network: Any = pl_module.network
        self.predictions = Predictions(
            model=model_name(network),
            target=data.target,
            names=names,
            values=values[0],
            predicted=values[1],
            offset=values[2],
            mean=data.statistics.mean,
            referenced=data.statistics.kind != "none",
            num_parameters=sum(p.numel() for p in network.parameters()),
            num_train=len(data.parts[0]),
            source=_SHORT.get(data.dataset.lower(), Path(data.dataset).name),
            seconds=self.seconds,
            force_mae=_force_mae(pl_module),
        )
        if self.folder is not None and trainer.is_global_zero:
            self._write(self.folder, self.predictions)

    def _write(self, folder: Path, predictions: Predictions) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.files = [folder / "predictions.csv", folder / "parity.png"]
        predictions.write_csv(self.files[0])
        parity_plot([predictions], self.files[1])
        if self.history:
            self.files.append(folder / "learning_curve.png")
            learning_curve(
                {predictions.model: self.history},
                predictions.target,
                self.files[2],
                predictions.simple(),
            )


def _force_mae(module: Any) -> float | None:
    """The error of the test forces, where forces are trained."""
    if getattr(module, "force_weight", None) is None:
        return None
    return float(module.metrics["test_force_mae"].compute())


def _indices(trainer: Trainer) -> list[int]:
    """The test molecules that this process has, in the order of its batches."""
    return list(trainer.test_dataloaders.sampler)  # type: ignore[union-attr]


def _in_order(
    outputs: list[dict[str, Any]], indices: list[int]
) -> tuple[list[str], list[Tensor]]:
    """Names and values of the molecules of all processes, each once, in the order of
    the data: the same on every process."""
    keys = ("target", "prediction", "offset")
    names = [name for o in outputs for name in o["name"]]
    rows = [torch.cat([o[key] for o in outputs]) for key in keys]
    # A trial run has fewer than there are.
    shares = gather((indices[: len(names)], names, rows))
    index = [i for share in shares for i in share[0]]
    name = [n for share in shares for n in share[1]]
    first = {i: at for at, i in reversed(list(enumerate(index)))}
    order = [first[i] for i in sorted(first)]
    values = [torch.cat(v)[order] for v in zip(*(s[2] for s in shares), strict=True)]
    return [name[at] for at in order], values
