"""Training of what looks for a symmetry."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.checkpoints import stamp
from lieconv_pyg.discovery.method import DiscoveryMethod
from lieconv_pyg.training.base import NetworkModule

_PATIENCE = 3  # collapsed epochs in a row, after which a run begins anew


class DiscoveryModule(NetworkModule):
    r"""Trains a method that looks for a symmetry by Adam: its players, such as a
    generator and a discriminator, one after the other on each batch.

    Where elements do nothing to the data for three epochs, move them out of all bounds,
    or a loss is not finite, the method begins anew with other weights, and the epochs
    before do not count.

    Args:
        network: The method.
        lr: Learning rate.
        max_restarts: How often it may begin anew.

    Raises:
        ValueError: If an argument is out of range.
    """

    automatic_optimization = False

    def __init__(
        self, network: DiscoveryMethod, lr: float = 1e-3, max_restarts: int = 3
    ) -> None:
        super().__init__(network, lr, 0.0)
        self.automatic_optimization = False
        if max_restarts < 0:
            raise ValueError(f"max_restarts must be at least 0, got {max_restarts}")
        self.max_restarts = max_restarts
        self.restarts = 0
        #: What is wrong with the last epoch, or nothing.
        self.collapse: str | None = None
        self._broken: str | None = None  # what was not finite, if anything
        self._began = 0  # the epoch with which what is trained now began
        self._collapsed = 0  # epochs in a row
        self.players = network.players()

    def configure_optimizers(self) -> Any:
        """One Adam for each player."""
        return [
            torch.optim.Adam(list(p.parameters), lr=self.lr * p.lr, betas=p.betas)
            for p in self.players
        ]

    def setup(self, stage: str) -> None:
        """Checks the data against the method."""
        data = getattr(self.trainer, "datamodule", None)
        if data is not None:
            self.check(data)

    def check(self, data: Any) -> None:
        r"""Checks that method and data go together.

        Raises:
            ValueError: If the method was built for another representation.
        """
        own, there = self.network.representation, data.parts[0].representation
        for name in ("size", "x_vectors", "y_type", "y_size"):
            if getattr(own, name) != getattr(there, name):
                raise ValueError(
                    f"the network was built for {name} {getattr(own, name)}, the data "
                    f"have {getattr(there, name)}: in Python give the representation "
                    "of the pairs; in a configuration leave it out, it follows from "
                    "the data"
                )

    def on_fit_start(self) -> None:
        """Adds the epochs that did not count to those that a resumed run has."""
        self._extend(self._began)

    def _extend(self, epochs: int) -> None:
        loop = self.trainer.fit_loop
        if loop.max_epochs not in (None, -1):
            loop.max_epochs += epochs

    def on_train_epoch_start(self) -> None:
        """Tells the method which epoch it is."""
        num = self.trainer.max_epochs
        if num not in (None, -1):
            now = self.current_epoch - self._began
            self.network.start_epoch(now, num - self._began)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """A step of each player."""
        batch = self._as_weights(batch)
        optimizers = self.optimizers()
        if not isinstance(optimizers, list):
            optimizers = [optimizers]
        losses: dict[str, Tensor] = {}
        for player, optimizer in zip(self.players, optimizers, strict=True):
            loss = player.loss(*batch)
            if not bool(loss.isfinite()):
                self.collapse = self._broken = f"the {player.name} is not finite"
                self._restart(self.current_epoch)
                return
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            losses[f"train/{player.name}"] = loss.detach()
        losses["train/loss"] = next(iter(losses.values()))
        self.log_dict(losses, on_step=False, on_epoch=True, batch_size=len(batch[0]))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Nothing: :meth:`training_step` looks at the losses."""

    def on_train_epoch_end(self) -> None:
        """Begins anew where what was learned has collapsed."""
        self.collapse = self._broken or self.look(
            self.trainer.datamodule.parts[0].x  # type: ignore[attr-defined]
        )
        self._collapsed = self._collapsed + 1 if self.collapse else 0
        is_last = self.current_epoch + 1 == self.trainer.max_epochs
        if self._collapsed >= (1 if is_last else _PATIENCE):
            self._restart(self.current_epoch + 1)

    def look(self, x: Tensor) -> str | None:
        """What is wrong with what was learned, seen on some vectors, or nothing."""
        (x,) = self._as_weights([x[:512].to(self.device)])
        return self.network.collapsed(x)

    def _restart(self, epoch: int) -> None:
        """Begins anew with an epoch, if that is still allowed."""
        self._collapsed = 0
        if self.restarts >= self.max_restarts:
            if self._broken:
                self.trainer.should_stop = True
            return
        self.restarts += 1
        self._broken = None
        warnings.warn(
            f"collapsed in epoch {self.current_epoch + 1}, {self.collapse}: begins "
            f"anew ({self.restarts} of {self.max_restarts})",
            stacklevel=2,
        )
        self.network.reset_parameters()
        optimizers = self.optimizers()
        for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
            optimizer.optimizer.state.clear()
        self._extend(epoch - self._began)
        self._began = epoch
        if epoch == self.current_epoch:  # what is left of it counts
            self.on_train_epoch_start()

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """The loss of the first player."""
        self._evaluate(batch, "val")

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """The loss of the first player."""
        self._evaluate(batch, "test")

    def _evaluate(self, batch: list[Tensor], stage: str) -> None:
        loss = self.players[0].loss(*self._as_weights(batch)).detach()
        self.log(f"{stage}/loss", loss, on_epoch=True, batch_size=len(batch[0]))

    def on_validation_epoch_end(self) -> None:
        """Nothing: a loss that is not finite ends no run."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the version of the package, and how often it began anew."""
        stamp(checkpoint, "discovery")
        checkpoint["restarts"] = {
            "number": self.restarts,
            "began": self._began,
            "collapsed": self._collapsed,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on where the run stopped."""
        state = checkpoint["restarts"]
        self.restarts, self._began = state["number"], state["began"]
        self._collapsed = state["collapsed"]
