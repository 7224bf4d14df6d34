"""Stops a run whose loss or gradient is not finite."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch_geometric.data import Data

from lieconv_pyg.training.processes import gather


class DivergenceError(RuntimeError):
    """The loss or its gradient is NaN or infinite."""


class Divergence:
    """Looks at the losses and the gradient of every optimizer step, before the weights
    are changed: the last checkpoint is then a good one."""

    def __init__(self) -> None:
        self._batches: list[tuple[Tensor, list[str]]] = []

    def note(self, loss: Tensor, batch: Data) -> None:
        """Keeps the loss of a batch, and its molecules' names."""
        self._batches.append((loss, list(batch.get("name", []))))

    def check(self, module: LightningModule) -> None:
        """Raises on every process if the step of any of them is not finite.

        Raises:
            DivergenceError: With the step, the molecules and the last checkpoint.
        """
        batches, self._batches = self._batches, []
        trainer = module.trainer
        if trainer.precision == "16-mixed":
            return  # the loss is scaled, and such steps are left out
        losses = torch.stack([loss for loss, _ in batches])
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        finite = bool(losses.isfinite().all() & norm.isfinite())
        if trainer.strategy.reduce_boolean_decision(finite):
            return
        losses_fail = not bool(losses.isfinite().all())
        gradient_fails = not bool(norm.isfinite())
        names = [
            name
            for loss, names in batches
            if not loss.isfinite() or (gradient_fails and not losses_fail)
            for name in names
        ]
        found = gather((losses_fail, names))
        names = [name for _, part in found for name in part]
        raise DivergenceError(_message(trainer, any(f for f, _ in found), names))


def _message(trainer: Trainer, loss: bool, names: list[str]) -> str:
    paths = [getattr(c, "best_model_path", "") for c in trainer.checkpoint_callbacks]
    saved = [path for path in paths if path]
    good = f"the last good checkpoint is {saved[-1]}" if saved else "no checkpoint yet"
    return (
        f"the {'loss' if loss else 'gradient'} is not finite at step "
        f"{trainer.global_step + 1} (epoch {trainer.current_epoch + 1}), on the "
        f"molecules {', '.join(names)}; {good}; a lower model.lr or "
        "trainer.gradient_clip_val may help"
    )
