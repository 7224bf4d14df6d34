"""Training of dynamics on chunks of trajectories."""

from __future__ import annotations

import os
import warnings
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from lieconv_pyg.dynamics import Dynamics, Springs, System, Trajectories
from lieconv_pyg.dynamics.integrate import solve
from lieconv_pyg.dynamics.rollout import common_times
from lieconv_pyg.training.divergence import Divergence
from lieconv_pyg.training.schedule import adam_with_cosine


class DynamicsModule(LightningModule):
    r"""Trains a network on rollouts from the first state of chunks of trajectories,

    .. math::
        \mathcal{L} = \frac{1}{B T D} \sum \| \hat z(t) - z(t) \|^2,

    over all states of a chunk, the first included, as in `LieConv
    <https://arxiv.org/abs/2002.12880>`_ (Section 6.3), by RK4 with the steps of the
    data. Adam, with a linear warm-up and a cosine to 0 by step.

    Args:
        network: The dynamics.
        lr: Learning rate of Adam.
        warmup: Share of the steps in which the learning rate rises.
        substeps: Steps of the integrator between two states.
        recompute: Whether derivatives are computed twice, so that the memory is that
            of one of them, and not of all in a chunk.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        network: Dynamics,
        lr: float = 1e-3,
        warmup: float = 0.01,
        substeps: int = 1,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        if not lr > 0:
            raise ValueError(f"lr must be positive, got {lr}")
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup must be in [0, 1), got {warmup}")
        if substeps < 1:
            raise ValueError(f"substeps must be at least 1, got {substeps}")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*is an instance of `nn.Module`.*")
            self.save_hyperparameters(logger=False)
        if isinstance(self.hparams.get("network"), torch.nn.Module):
            del self.hparams["network"]
        self.network = network
        self.lr = lr
        self.warmup = warmup
        self.substeps = substeps
        self.recompute = recompute
        self._divergence, self._validation = Divergence(), Divergence()

    def setup(self, stage: str) -> None:
        """Checks the data against the network; before training, sets radii."""
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            return
        first = next(iter(data.train_dataloader()))
        q, p = first.pos[:, 0], first.momentum[:, 0]
        self.network.check(first.x, q, p, first.batch)
        calibrate: Any = getattr(self.network, "calibrate", None)
        if stage == "fit" and calibrate is not None:
            calibrate(q.to(self.device, self.dtype), first.batch.to(self.device))

    def forward(self, batch: Data) -> Tensor:
        """The states :math:`(T, N, 2 d)` of a rollout at the times of a batch."""
        dtype: Any = self.dtype
        x = batch.x.to(dtype)
        state = torch.cat([batch.pos[:, 0], batch.momentum[:, 0]], dim=1).to(dtype)

        def derivative(t: Tensor, z: Tensor) -> Tensor:
            q, p = z.chunk(2, dim=1)
            found = self.network(x, q, p, batch.batch, batch.num_graphs)
            return torch.cat(found, dim=1)

        recompute = self.recompute and torch.is_grad_enabled()
        parameters = self.network.parameters() if recompute else None
        times = common_times(batch)
        return solve(
            derivative, state, times, substeps=self.substeps, recompute=parameters
        )

    def _loss(self, batch: Data) -> Tensor:
        found = self(batch)
        true = torch.cat([batch.pos, batch.momentum], dim=2).transpose(0, 1)
        return (found - true.to(found.dtype)).square().mean()

    def training_step(self, batch: Data, batch_idx: int) -> Tensor:
        """The mean square error."""
        loss = self._loss(batch)
        self.log(
            "train/loss",
            loss.detach(),
            on_step=False,
            on_epoch=True,
            batch_size=batch.num_graphs,
            sync_dist=True,
        )
        self._divergence.note(loss.detach(), batch)
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Stops where the loss or its gradient is not finite."""
        self._divergence.check(self)

    def validation_step(self, batch: Data, batch_idx: int) -> None:
        """The mean square error."""
        loss = self._loss(batch).detach()
        self.log("val/loss", loss, batch_size=batch.num_graphs, sync_dist=True)
        self._validation.note(loss, batch)

    def on_validation_epoch_end(self) -> None:
        """Stops where the loss is not finite."""
        self._validation.check_validation(self)

    def test_step(self, batch: Data, batch_idx: int) -> None:
        """The mean square error."""
        loss = self._loss(batch).detach()
        self.log("test/loss", loss, batch_size=batch.num_graphs, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Adam with warm-up and cosine over the whole run."""
        return adam_with_cosine(self, self.lr, self.warmup)


class DynamicsDataModule(LightningDataModule):
    r"""Trajectories of a system for training, validation and test.

    Args:
        system: What moves.
        root: Folder of the files, which are made where they are not there.
        num_systems: Numbers of training, validation and test systems.
        chunk: States of an item.
        num_chunks: Items of each system.
        num_states: States of a trajectory. By default the system's.
        step: Time between states. By default the system's.
        batch_size: Items in a batch.
        seed: Other numbers, other systems.

    Raises:
        ValueError: As :class:`~lieconv_pyg.dynamics.Trajectories`; or if a batch is
            larger than the training data.
    """

    def __init__(
        self,
        system: System | None = None,
        root: str = "data/dynamics",
        num_systems: tuple[int, int, int] = (3000, 200, 2000),
        chunk: int = 5,
        num_chunks: int = 1,
        num_states: int | None = None,
        step: float | None = None,
        batch_size: int = 200,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if batch_size > num_systems[0] * num_chunks:
            raise ValueError(
                f"batch_size {batch_size} is more than the "
                f"{num_systems[0] * num_chunks} training chunks: make it smaller"
            )
        self.system = Springs() if system is None else system
        self.batch_size = batch_size
        self.num_systems = num_systems
        self._settings: dict[str, Any] = dict(
            root=os.path.expanduser(root),
            chunk=chunk,
            num_chunks=num_chunks,
            num_states=num_states,
            step=step,
            seed=seed,
        )
        self._parts: dict[str, Trajectories] = {}

    def part(self, split: str) -> Trajectories:
        """The trajectories of a split."""
        if split not in self._parts:
            number = self.num_systems[("train", "valid", "test").index(split)]
            self._parts[split] = Trajectories(
                system=self.system, split=split, num_systems=number, **self._settings
            )
        return self._parts[split]

    def train_dataloader(self) -> DataLoader:
        """Batches of the same size in a random order."""
        return DataLoader(
            self.part("train"), self.batch_size, shuffle=True, drop_last=True
        )

    def val_dataloader(self) -> DataLoader:
        """All validation chunks."""
        return DataLoader(self.part("valid"), self.batch_size)

    def test_dataloader(self) -> DataLoader:
        """All test chunks."""
        return DataLoader(self.part("test"), self.batch_size)
