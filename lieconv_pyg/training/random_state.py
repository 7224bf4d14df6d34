"""The state of the random numbers, in checkpoints."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback


class RandomState(Callback):
    r"""Keeps the state of torch's random numbers in checkpoints, so that a run that is
    resumed draws what it would have drawn without the interruption: the order of the
    molecules, rotations, lifts, neighbours.
    """

    def state_dict(self) -> dict[str, Any]:
        """The generators' states, of the CPU and of each GPU."""
        return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Sets the states; those of GPUs if there are as many as before.

        At once: Lightning makes the first epoch's loader, which draws, before any
        later hook.
        """
        torch.set_rng_state(state_dict["cpu"].cpu())
        if len(state_dict["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([s.cpu() for s in state_dict["cuda"]])
