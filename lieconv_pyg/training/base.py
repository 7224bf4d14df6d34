"""What training has in common, whatever the data are."""

from __future__ import annotations

import os
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch.utils.data import DistributedSampler
from torch_geometric.data import Batch
from torch_geometric.loader import DataLoader

from lieconv_pyg.training.divergence import Divergence
from lieconv_pyg.training.schedule import adam_with_cosine
from lieconv_pyg.training.soft_symmetry import SoftSymmetry


class NetworkModule(LightningModule):
    r"""Trains a network by Adam, with a linear warm-up and a cosine to 0 by step, and
    stops where the loss or its gradient is not finite.

    Args:
        network: The network. If it has ``calibrate(pos, batch)``, that is called before
            training; if it has ``penalty()``, that is added to the loss in training.
        lr: Learning rate of Adam.
        warmup: Share of the steps in which the learning rate rises.
        symmetry_weight: Weight, in the loss of training, of the penalties and priors of
            relaxed layers (:class:`~lieconv_pyg.nn.RelaxedLieConv`,
            :class:`~lieconv_pyg.nn.RPPLieConv`), if the network has any.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        lr: float,
        warmup: float,
        symmetry_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if not lr > 0:
            raise ValueError(f"lr must be positive, got {lr}")
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup must be in [0, 1), got {warmup}")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*is an instance of `nn.Module`.*")
            self.save_hyperparameters(logger=False)
        if isinstance(self.hparams.get("network"), torch.nn.Module):
            # Built in Python: its weights are saved, its arguments are not known. From
            # the command line, the entry is its configuration.
            del self.hparams["network"]
        self.network: Any = network
        self.lr = lr
        self.warmup = warmup
        self._soft = SoftSymmetry(network, symmetry_weight)
        self._divergence = Divergence()
        self._validation = Divergence()

    def calibrate(self, pos: torch.Tensor, batch: torch.Tensor) -> None:
        """Has the network set its radii, if it has any."""
        calibrate = getattr(self.network, "calibrate", None)
        if calibrate is not None:
            calibrate(pos.to(self.device), batch.to(self.device))

    def penalty(self) -> torch.Tensor | float:
        """What the network and its relaxed layers want to be added to the loss in
        training, if anything."""
        penalty = getattr(self.network, "penalty", None)
        return self._soft.penalty() + (0.0 if penalty is None else penalty())

    def _as_weights(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        """A batch in the weights' precision."""
        like = next(self.network.parameters()).dtype
        return [t.to(like) if t.is_floating_point() else t for t in batch]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Stops where the loss or its gradient is not finite."""
        self._divergence.check(self)

    def on_validation_epoch_end(self) -> None:
        """Stops where the loss is not finite."""
        self._validation.check_validation(self)

    def configure_optimizers(self) -> Any:
        """Adam with warm-up and cosine over the whole run."""
        return adam_with_cosine(self, self.lr, self.warmup)


class SplitDataModule(LightningDataModule):
    r"""Data in three parts, which several processes share, and whose order in training
    follows from seed and epoch, in a resumed run too.

    Args:
        batch_size: Examples in a batch of each process. In training the last batch is
            left out if it is smaller; in validation and test it never is.

    Raises:
        ValueError: If :obj:`batch_size` is not positive.
    """

    #: What the examples are, in messages.
    examples = "examples"

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.batch_size = batch_size

    @property
    @abstractmethod
    def parts(self) -> Sequence[Any]:
        """Training, validation and test data."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """What tells these data from others, whatever part of them is taken."""

    @staticmethod
    @abstractmethod
    def name_in(config: Mapping[str, Any]) -> str:
        """The name of the data in a configuration."""

    @abstractmethod
    def describe(self) -> str:
        """One sentence on the data, for the head of a run."""

    def calibration_batch(self, num_examples: int = 256) -> Batch:
        """The first training data: the same on every process."""
        train = self.parts[0]
        first = range(min(num_examples, len(train)))
        return Batch.from_data_list([train[i] for i in first])

    def check_batch_size(self, num_train: int, num_processes: int = 1) -> None:
        r"""Checks that the training data make a batch.

        Raises:
            ValueError: If they do not.
        """
        if num_train < self.batch_size * num_processes:
            several = f" on each of {num_processes} processes"
            raise ValueError(
                f"batch_size {self.batch_size}{several if num_processes > 1 else ''} "
                f"is more than the {num_train} training {self.examples}: make it "
                "smaller"
            )

    def check_processes(self, num_processes: int) -> None:
        r"""Checks that there is enough of each part for several processes.

        Raises:
            ValueError: If there is not: it says which part is too small.
        """
        self.check_batch_size(len(self.parts[0]), num_processes)
        self._check_share(1, num_processes)
        self._check_share(2, num_processes)

    def _check_share(self, part: int, num_processes: int) -> None:
        name, num = ("training", "validation", "test")[part], len(self.parts[part])
        if num < num_processes:
            raise ValueError(
                f"there are {num} {name} {self.examples} for {num_processes} "
                "processes: take more of them, or fewer processes"
            )

    def state_dict(self) -> dict[str, Any]:
        """The seed of the training order, which a resumed run keeps, and the
        fingerprint."""
        return {"order_seed": self._order_seed(), "fingerprint": self.fingerprint}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the seed of the run that is resumed."""
        self._resumed_seed: int | None = state_dict["order_seed"]

    def _order_seed(self) -> int:
        seed = getattr(self, "_resumed_seed", None)
        return int(os.environ.get("PL_GLOBAL_SEED", 0)) if seed is None else seed

    def _processes(self) -> dict[str, int]:
        """How many processes share the data, and which of them this is."""
        shared = getattr(self.trainer, "distributed_sampler_kwargs", None)
        return shared or {"num_replicas": 1, "rank": 0}

    def train_dataloader(self) -> DataLoader:
        """Batches, all of the same number of examples, in an order that follows from
        seed and epoch: a step of several processes is a step of one with a batch as
        large as theirs together."""
        processes = self._processes()
        self.check_processes(processes["num_replicas"])
        order: DistributedSampler = DistributedSampler(
            self.parts[0],
            shuffle=True,
            seed=self._order_seed(),
            drop_last=True,
            **processes,
        )
        return DataLoader(self.parts[0], self.batch_size, sampler=order, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        """All validation data, in order, shared out among the processes."""
        return self._evaluation_loader(1)

    def test_dataloader(self) -> DataLoader:
        """All test data, in order, shared out among the processes."""
        return self._evaluation_loader(2)

    def _evaluation_loader(self, part: int) -> DataLoader:
        processes = self._processes()
        self._check_share(part, processes["num_replicas"])
        share = UnrepeatedDistributedSampler(
            self.parts[part], shuffle=False, **processes
        )
        return DataLoader(self.parts[part], self.batch_size, sampler=share)
