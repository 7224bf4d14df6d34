"""Trajectories for Lightning: files, parts, loaders."""

from __future__ import annotations

import os
from typing import Any

from lieconv_pyg.dynamics import Springs, System, Trajectories
from lieconv_pyg.dynamics.trajectories import SPLITS
from lieconv_pyg.training.base import SplitDataModule


class DynamicsDataModule(SplitDataModule):
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

    examples = "chunks"

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
        super().__init__(batch_size)
        self.check_batch_size(num_systems[0] * num_chunks)
        self.system = Springs() if system is None else system
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

    @property
    def parts(self) -> list[Trajectories]:
        """Training, validation and test trajectories."""
        return [self.part(split) for split in SPLITS]

    @property
    def fingerprint(self) -> str:
        """The settings of the training trajectories."""
        return str(self.part("train").settings)

    def part(self, split: str) -> Trajectories:
        """The trajectories of a split."""
        if split not in self._parts:
            number = self.num_systems[list(SPLITS).index(split)]
            self._parts[split] = Trajectories(
                system=self.system, split=split, num_systems=number, **self._settings
            )
        return self._parts[split]
