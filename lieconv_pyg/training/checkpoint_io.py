"""Checkpoints that are on disk whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from lieconv_pyg.checkpoints import read_file


class CheckpointWriteError(OSError):
    """A checkpoint could not be written; the one before is as it was."""


class AtomicCheckpointIO(TorchCheckpointIO):
    r"""Writes a checkpoint to a temporary file beside it, which takes its place when
    it is complete on disk: whatever happens meanwhile, the file at the path is the old
    or the new one, whole.

    The temporary file has the checkpoint's name with ``.tmp`` behind it. One that is
    left from a run that was killed goes with the next checkpoint of that name.
    Checkpoints are read with :obj:`weights_only=True`.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,
    ) -> None:
        """Writes a checkpoint.

        Raises:
            CheckpointWriteError: If it cannot be written, with the reason.
        """
        # In memory first: torch's own errors hide why a file cannot be written.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        path = Path(path)
        temporary = path.with_name(f"{path.name}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)
            with temporary.open("xb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            rest = "the earlier one is untouched" if path.exists() else "there is none"
            reason = error.strerror or str(error)
            raise CheckpointWriteError(
                f"the checkpoint {path} could not be written ({reason}); {rest}"
            ) from error
        _sync_folder(path.parent)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable | None = lambda storage, loc: storage,
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        """Reads a checkpoint, never more than tensors and plain values.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not a whole checkpoint.
        """
        return read_file(path, map_location)


def _sync_folder(folder: Path) -> None:
    """Has the new name reach the disk too, where folders can be synchronised."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
