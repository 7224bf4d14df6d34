"""Trajectories for Lightning: files, parts, loaders."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from torch_geometric.data import Batch

from lieconv_pyg.dynamics import Springs, System, Trajectories
from lieconv_pyg.dynamics.trajectories import SPLITS, first_state
from lieconv_pyg.training.base import SplitDataModule


class DynamicsDataModule(SplitDataModule):
    r"""Trajectories of a system for training, validation and test.

    Args:
        system: What moves. By default :class:`~lieconv_pyg.dynamics.Springs`.
        root: Folder of the files, in which those of each system and settings have a
            folder of their own. They are made where they are not there.
        num_systems: Numbers of training, validation and test systems.
        chunk: States of an item.
        num_chunks: Items of each system.
        num_states: States of a trajectory. By default the system's.
        step: Time between states. By default the system's.
        batch_size: Chunks in a batch of each process. In training the last batch is
            left out if it is smaller; in validation and test it never is.
        num_rollouts: Test systems that are followed for all their states, at the most.
        seed: Other numbers, other systems.

    Raises:
        ValueError: As :class:`~lieconv_pyg.dynamics.Trajectories`; or if a batch is
            larger than the training data.
    """

    examples = "chunks"

    def __init__(
        self,
        system: System | None = None,
        root: str = "data",
        num_systems: tuple[int, int, int] = (3000, 200, 2000),
        chunk: int = 5,
        num_chunks: int = 1,
        num_states: int | None = None,
        step: float | None = None,
        batch_size: int = 200,
        num_rollouts: int = 50,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size)
        self.check_batch_size(num_systems[0] * num_chunks)
        if num_rollouts < 0:
            raise ValueError(f"num_rollouts must be at least 0, got {num_rollouts}")
        self.system = Springs() if system is None else system
        self.root = os.path.expanduser(root)
        self.num_systems = num_systems
        self.num_rollouts = min(num_rollouts, num_systems[2])
        self._chunks: dict[str, Any] = dict(chunk=chunk, num_chunks=num_chunks)
        self._settings: dict[str, Any] = dict(
            num_states=num_states, step=step, seed=seed
        )
        self._parts: list[Trajectories] | None = None
        self._whole: Batch | None = None

    def prepare_data(self) -> None:
        """Computes the trajectories, on one process."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Reads the trajectories, and computes those that are not there."""
        if self._parts is None:
            self._parts = [
                self._trajectories(split, number, **self._chunks)
                for split, number in zip(SPLITS, self.num_systems, strict=True)
            ]
            if self.num_rollouts:
                self.rollouts()

    def _trajectories(self, split: str, number: int, **chunks: Any) -> Trajectories:
        settings = {**chunks, **self._settings}
        known = self.system.settings(), first_state(self.system, settings["seed"])
        digest = hashlib.sha256(repr((known, settings)).encode()).hexdigest()
        name = f"{type(self.system).__name__.lower()}-{digest[:8]}"
        root = os.path.join(self.root, name)
        return Trajectories(root, self.system, split, number, **settings)

    @property
    def parts(self) -> list[Trajectories]:
        """Training, validation and test chunks."""
        self.setup()
        assert self._parts is not None
        return self._parts

    def rollouts(self) -> Batch:
        """Whole trajectories of the first test systems."""
        if self._whole is not None:
            return self._whole
        number = self.num_rollouts
        if getattr(self.system, "center_momenta", None) == "systems":
            number = self.num_systems[2]  # they are other systems where they are fewer
        whole = self._trajectories("test", number, chunk=None)
        self._whole = Batch.from_data_list(list(whole[: self.num_rollouts]))
        return self._whole

    @staticmethod
    def name_in(config: Mapping[str, Any]) -> str:
        """The system, and what it was made with."""
        system = config["system"] or {"class_path": "Springs"}
        given = system.get("init_args") or {}
        settings = ", ".join(f"{name}={value}" for name, value in given.items())
        return f"{system['class_path'].split('.')[-1]}({settings})"

    @property
    def fingerprint(self) -> str:
        """The settings of the system and its trajectories, whatever their number."""
        settings = self.parts[0].settings
        return repr({k: v for k, v in settings.items() if k != "num_systems"})

    def describe(self) -> str:
        """One sentence on the data, for the head of a run."""
        train, valid, test = map(len, self.parts)
        size, step = self._chunks["chunk"], self.parts[0].settings["step"]
        return (
            f"{self.system}: {train} training, {valid} validation and {test} test "
            f"chunks of {size} states, {step:g} apart"
        )
