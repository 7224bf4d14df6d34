"""The configuration of a run, on disk and in its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.cli import SaveConfigCallback


class SaveConfig(SaveConfigCallback):
    """Saves the whole configuration in the run's folder, and in its checkpoints."""

    def _whole(self) -> str:
        config = self.config.clone()
        config.ckpt_path = None  # the run that was resumed, not this one's beginning
        return self.parser.dump(config, skip_none=False)

    def save_config(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Writes ``config.yaml``, whole or not at all."""
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{self.config_filename}.part"
        part.write_text(self._whole())
        part.replace(folder / self.config_filename)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the configuration, as plain values."""
        checkpoint["config"] = yaml.safe_load(self._whole())
