"""What the trainer of every run has: checkpoints, logs, plugins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.plugins import CheckpointIO, LayerSync

from lieconv_pyg.training.checkpoint_io import AtomicCheckpointIO
from lieconv_pyg.training.sync_batch_norm import BatchNormSync


def bare_trainer(**kwargs: Any) -> Trainer:
    """One process without files, logs or a bar, for runs within a program."""
    usual: dict[str, Any] = {
        # MPS has no float64.
        "accelerator": "cpu" if torch.backends.mps.is_available() else "auto",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return Trainer(**{**usual, **kwargs})


class _Best(ModelCheckpoint):
    """Knows the best checkpoint of a run that goes on in another place too."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Looks for the checkpoint in its own folder."""
        here = Path(str(self.dirpath), Path(state_dict["best_model_path"]).name)
        if here.is_file():
            state_dict = {
                **state_dict,
                "dirpath": self.dirpath,
                "best_model_path": str(here),
                "best_k_models": {str(here): state_dict["best_model_score"]},
                "kth_best_model_path": str(here),
            }
        super().load_state_dict(state_dict)


class _EarlyStopping(EarlyStopping):
    """Stays with its decision where a run goes on that had stopped."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops again."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


def checkpoints(
    folder: Path, monitor: str = "val/loss"
) -> tuple[ModelCheckpoint, ModelCheckpoint]:
    """The best epoch's checkpoint by validation and the last one's, ``best.ckpt`` and
    ``last.ckpt``."""
    path = (folder / "checkpoints").resolve()
    once: Any = {"enable_version_counter": False}
    best = _Best(path, filename="best", monitor=monitor, **once)
    last = ModelCheckpoint(path, filename="last", save_on_train_epoch_end=True, **once)
    return best, last


def early_stopping(patience: int | None, monitor: str = "val/loss") -> list[Callback]:
    r"""Stops after so many epochs without a better one, if a number is given.

    Raises:
        ValueError: If it is not positive.
    """
    if patience is None:
        return []
    if patience < 1:
        raise ValueError(f"patience must be at least 1 epoch, got {patience}")
    return [_EarlyStopping(monitor, patience=patience)]


def loggers(folder: Path) -> list[Logger]:
    """CSV and TensorBoard, in a new folder of ``logs`` each time a run goes on."""
    log = CSVLogger(str(folder), name="logs")
    return [log, TensorBoardLogger(str(folder), "logs", log.version)]


def plugins(given: Any) -> list[Any]:
    """The plugins that were asked for, and ours for what none of them does."""
    found = list(given) if isinstance(given, list) else [given] if given else []
    if not any(isinstance(plugin, CheckpointIO) for plugin in found):
        found.append(AtomicCheckpointIO())
    if not any(isinstance(plugin, LayerSync) for plugin in found):
        found.append(BatchNormSync())
    return found
