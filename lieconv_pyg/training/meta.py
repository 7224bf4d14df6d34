"""Training of what a gradient step is to adapt to a task."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler
from torch_geometric.data import Data

from lieconv_pyg.discovery import (
    MAML,
    SharedLinear,
    SharingScore,
    SharingTasks,
    score_sharing,
)
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.training.base import NetworkModule
from lieconv_pyg.training.quiet import quiet
from lieconv_pyg.training.random_state import seeded
from lieconv_pyg.training.trainer_parts import bare_trainer


class MetaModule(NetworkModule):
    r"""Trains a :class:`~lieconv_pyg.discovery.MAML` by Adam with a constant learning
    rate: what its network and its rates are, so that adapted networks have a small mean
    square error. In training the support examples of each task are drawn at random, in
    the test they are the first ones.

    Args:
        network: The network, with its rates.
        lr: Learning rate.

    Raises:
        ValueError: If the learning rate is not positive.
    """

    def __init__(self, network: MAML, lr: float = 1e-3) -> None:
        super().__init__(network, lr, 0.0)
        #: The loss of each step.
        self.losses: list[float] = []
        #: The test error of each task.
        self.errors: list[Tensor] = []

    def configure_optimizers(self) -> Any:
        """Adam."""
        return torch.optim.Adam(self.network.parameters(), lr=self.lr)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """The mean error of tasks after their step, with other support examples each
        time."""
        x, y = self._as_weights(batch)
        order = torch.rand(x.shape[:2], device=x.device).argsort(1).unsqueeze(2)
        x, y = x.take_along_dim(order, 1), y.take_along_dim(order, 1)
        loss = self.network.errors(x, y).mean()
        self._divergence.note(loss.detach(), Data())
        self.losses.append(loss.item())
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(x))
        return loss

    def on_test_start(self) -> None:
        """Forgets the errors of an earlier test."""
        self.errors = []

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """The error of each task after its step."""
        found = self.network.errors(*self._as_weights(batch))
        self.errors.append(found.cpu())
        self.log("test/loss", found.mean(), on_epoch=True, batch_size=len(found))


@dataclass(frozen=True)
class MetaTest:
    r"""How well a network does after a step on a task.

    Args:
        model (str): What was trained.
        source (str): On which tasks.
        errors (Tensor): The mean square error of each test task, :math:`(T)`.
        losses (Tensor): The loss of each step of the training.
        rates (tuple of float): What the rates of the inner step are.
        score (SharingScore, optional): Of what a single
            :class:`~lieconv_pyg.discovery.SharedLinear` has learned, where the true
            patterns are known.
        seconds (float, optional): Time of the training.
    """

    model: str
    source: str
    errors: Tensor
    losses: Tensor
    rates: tuple[float, ...]
    score: SharingScore | None = None
    seconds: float | None = None

    @property
    def mse(self) -> float:
        """The mean over test tasks."""
        return float(self.errors.mean())

    @property
    def uncertainty(self) -> float:
        """Its standard error, NaN for a single task."""
        number = len(self.errors)
        return float(self.errors.std()) / number**0.5 if number > 1 else math.nan

    def __str__(self) -> str:
        rows = [
            f"{self.model} on {self.source}: test MSE {self.mse:.3f} ± "
            f"{self.uncertainty:.3f} of {len(self.errors):,} tasks after "
            f"{len(self.losses):,} steps, inner rates "
            + ", ".join(f"{rate:.3g}" for rate in self.rates)
        ]
        if self.score is not None:
            rows.append(str(self.score))
        return "\n".join(rows)


def meta_train(
    network: torch.nn.Module,
    train: SharingTasks,
    test: SharingTasks,
    num_steps: int = 1000,
    batch_size: int = 32,
    lr: float = 1e-3,
    inner_lr: float = 0.1,
    num_support: int = 1,
    seed: int = 0,
) -> MetaTest:
    r"""Trains a network so that a gradient step on a task adapts it, as
    `"Meta-Learning Symmetries by Reparameterization"
    <https://arxiv.org/abs/2007.02933>`_ does: with
    :class:`~lieconv_pyg.discovery.SharedLinear` for a network it is their method, with
    others :class:`~lieconv_pyg.discovery.MAML`.

    Args:
        network: It is trained in place, from where it is.
        train: Tasks for training.
        test: Others, of which its errors are taken.
        num_steps: Steps of Adam.
        batch_size: Tasks in a step.
        lr: Learning rate of Adam.
        inner_lr: Rates of the inner step, to begin with.
        num_support: Examples of a task that a network is adapted with.
        seed: Of the run's random numbers; those of the program go on as they were.

    Raises:
        ValueError: If a number is out of range, there are too few tasks or examples, or
            shapes do not fit.

    Example:
        >>> train, test = synthetic_tasks("convolution").split(8000)
        >>> layer = SharedLinear(70, 68, size=3)
        >>> print(meta_train(layer, train, test))  # doctest: +SKIP
    """
    learner = MAML(network, inner_lr, num_support)
    module = MetaModule(learner, lr)
    positive(num_steps, "num_steps")
    if len(train) < positive(batch_size, "batch_size"):
        raise ValueError(
            f"'batch_size' {batch_size} is more than the {len(train)} training tasks"
        )
    sizes = []
    for tasks in (train, test):
        learner.check(tasks.x, tasks.y)
        sizes.append((tasks.x.size(2), tasks.y.size(2)))
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"'train' and 'test' must have entries (n, m) alike, got {sizes[0]} and "
            f"{sizes[1]}"
        )
    with quiet(), seeded(seed):
        trainer = bare_trainer(max_steps=num_steps, max_epochs=-1)
        began = time.perf_counter()
        trainer.fit(module, _batches(train, batch_size, True))
        seconds = time.perf_counter() - began
        trainer.test(module, _batches(test, 500, False), verbose=False)
    score = None
    if isinstance(network, SharedLinear) and train.patterns is not None:
        score = score_sharing(network.patterns, train.patterns)
    return MetaTest(
        type(network).__name__,
        test.name,
        torch.cat(module.errors),
        torch.tensor(module.losses),
        tuple(learner.rates.tolist()),
        score,
        seconds,
    )


def _batches(tasks: SharingTasks, size: int, training: bool) -> DataLoader:
    """Batches of tasks, each cut out at once."""
    order = RandomSampler(tasks) if training else SequentialSampler(tasks)
    return DataLoader(tasks, None, sampler=BatchSampler(order, size, training))
