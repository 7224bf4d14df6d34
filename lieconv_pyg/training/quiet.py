"""Leaves out what libraries say and no user can act on."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

#: Beginnings of the warnings that are left out, and why.
_WARNINGS = (
    # Molecules are in memory: worker processes would only slow it down.
    r"The '\w+' does not have many workers",
    # Errors are logged by epoch.
    r"The number of training batches \(\d+\) is smaller than the logging interval",
    # Training on an allocated node without srun is what is wanted.
    r"The `srun` command is available",
    # The folder was checked before the run began.
    r"Checkpoint directory .* exists and is not empty",
    # The resumed run has a folder of its own.
    r"The dirpath has changed from",
    # The demo and the tests call the command from Python.
    r"LightningCLI's args parameter is intended to run from within Python",
    # Lightning's use of jsonargparse.
    r"(?s)\s.*deprecated\s+in\s+v4",
    r"(?s)\s+By default only one JsonargparseDeprecationWarning",
    # Where no images are for validation, there is none.
    r"Total length of `list` across ranks is zero",
    # Tests need no callbacks of the training.
    r"Be aware that when using `ckpt_path`, callbacks used to create the checkpoint",
    # A dependency of Lightning's.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    r"""Leaves out certain warnings of Lightning, and its notes on hardware and
    products (its logger is set to warnings)."""
    logger = logging.getLogger("lightning.pytorch")
    fabric = logging.getLogger("lightning.fabric")
    levels = (logger.level, fabric.level)
    with warnings.catch_warnings():
        for message in _WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        try:
            logger.setLevel(logging.WARNING)
            fabric.setLevel(logging.WARNING)
            yield
        finally:
            logger.setLevel(levels[0])
            fabric.setLevel(levels[1])
