"""The state of the random numbers: in checkpoints, and of runs from Python."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything

from lieconv_pyg.training.processes import gather

_KEY = "random_state"


class RandomState(Callback):
    r"""Keeps the states of the random numbers of torch, NumPy and Python in
    checkpoints, so that a run that is resumed draws what it would have drawn without
    the interruption: rotations, lifts, neighbours.

    Each of several processes draws its own numbers and goes on with its own state. If
    a run goes on with more processes than before, the new ones begin with a seed of
    their own; with fewer, the states of the last ones are left out.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Gives each process its own seed, where Lightning gave all the same."""
        if stage == "fit" and trainer.global_rank > 0:
            seed = torch.initial_seed() + trainer.global_rank
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the state of each process; Lightning calls it on all of them."""
        checkpoint[_KEY] = gather(_state(trainer.strategy.root_device))

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Sets the process's own state, where a run is resumed.

        At once: Lightning makes the first epoch's loader, which draws, before any
        later hook.
        """
        states = checkpoint.get(_KEY, [])
        if trainer.state.fn == "fit" and trainer.global_rank < len(states):
            _restore(states[trainer.global_rank], trainer.strategy.root_device)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers of a seed, for a run within a program whose own they leave as they
    are."""
    names = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")  # what Lightning keeps
    before = {name: os.environ.get(name) for name in names}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    state = _state(device)
    try:
        seed_everything(seed, verbose=False)
        yield
    finally:
        _restore(state, device)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _state(device: torch.device) -> dict[str, Any]:
    """The states, as tensors and plain values."""
    version, words, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return {
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "python": [version, torch.tensor(words), gauss],
        "numpy": [name, torch.tensor(keys, dtype=torch.int64), *rest],
    }


def _restore(state: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(state["torch"].cpu())
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy(), *rest))  # noqa: NPY002
