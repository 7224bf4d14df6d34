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
        """Keeps the loss of a batch, and the names of its molecules, if it has any."""
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
        # Where a loss fails anywhere, the gradient of all processes does.
        loss_fails = any(gather(not bool(losses.isfinite().all())))
        names = [
            name
            for loss, names in batches
            if not loss.isfinite() or not loss_fails
            for name in names
        ]
        what = "loss" if loss_fails else "gradient"
        raise DivergenceError(_message(trainer, what, gather(names)))

    def check_validation(self, module: LightningModule) -> None:
        """Raises on every process if a validation loss of any of them is not finite.

        Raises:
            DivergenceError: With the step, the molecules and the last checkpoint.
        """
        batches, self._batches = self._batches, []
        bad = [n for loss, n in batches if not loss.isfinite()]
        if any(gather(bool(bad))):
            found = gather([name for names in bad for name in names])
            raise DivergenceError(_message(module.trainer, "validation loss", found))


def _message(trainer: Trainer, what: str, names: list[list[str]]) -> str:
    paths = [getattr(c, "best_model_path", "") for c in trainer.checkpoint_callbacks]
    saved = [path for path in paths if path]
    good = f"the last good checkpoint is {saved[-1]}" if saved else "no checkpoint yet"
    named = ", ".join(name for part in names for name in part)
    molecules = f", on the molecules {named}" if named else ""
    time = getattr(trainer.lightning_module, "diverged_at", None)
    if time is not None:
        molecules += f", in rollouts that diverge at t = {time:.4g}"
    return (
        f"the {what} is not finite at step {trainer.global_step + 1} (epoch "
        f"{trainer.current_epoch + 1}){molecules}; {good}; a lower "
        "model.lr or trainer.gradient_clip_val may help"
    )
