"""Data whose symmetry is looked for, for Lightning."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import Subset

from lieconv_pyg.datasets import Jets, TopTagging, ToyJets, find_name
from lieconv_pyg.discovery.pairs import Y_TYPES, SymmetryPairs, read_pairs
from lieconv_pyg.discovery.problems import (
    discrete_rotation,
    leading_constituents,
    lorentz_scattering,
    read_two_body,
    step_pairs,
    three_body_orbits,
    two_body_orbits,
)
from lieconv_pyg.training.base import SplitDataModule

PROBLEMS = (
    *("two_body", "three_body", "discrete_rotation", "lorentz_scattering"),
    *("toy_jets", "top_tagging", "pairs"),
)


class DiscoveryDataModule(SplitDataModule):
    r"""Pairs :math:`(x, y)` for training, validation and test.

    Args:
        problem: ``pairs``, your own from a file; ``two_body`` or ``three_body``,
            successive states of bodies that attract each other; ``discrete_rotation``,
            a function that seventh turns leave as it is; ``lorentz_scattering``, one of
            four momenta; ``toy_jets`` or ``top_tagging``, the two hardest constituents
            of jets, in units of 100 GeV, and what the jet is.
        pairs: Your own pairs for training, in the place of a problem, from Python.
        root: A file with orbits of two bodies, see
            :func:`~lieconv_pyg.discovery.read_two_body`, by default they are computed;
            or the folder or file of ``top_tagging``; or the file of ``pairs``, see
            :func:`~lieconv_pyg.discovery.read_pairs`.
        y_type: Of ``pairs``: what y is, ``vectors``, ``scalars`` or ``labels``.
        split: Of two bodies: ``out_of_distribution``, whose test orbits begin in the
            other half plane, as in the authors' data; or ``iid``.
        extended: Of two bodies: whether generators may mix both bodies.
        num_train: Training orbits, jets, or pairs of a function. By default 814 orbits
            of two bodies, 1,000 of three, 10,000 jets and 20,000 pairs.
        batch_size: Pairs in a batch of each process.
        seed: Other numbers, other data.

    Raises:
        ValueError: If there is no such problem or split, or a number is out of range.
    """

    examples = "pairs"

    def __init__(
        self,
        problem: str = "two_body",
        pairs: SymmetryPairs | None = None,
        root: str | None = None,
        y_type: str = "vectors",
        split: str = "out_of_distribution",
        extended: bool = False,
        num_train: int | None = None,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size)
        names = dict.fromkeys(PROBLEMS, "")
        self.problem = find_name(problem, names, "problem")
        if split not in ("out_of_distribution", "iid"):
            raise ValueError(f"split must be out_of_distribution or iid, got {split!r}")
        if num_train is not None and num_train < 2:
            raise ValueError(f"num_train must be at least 2, got {num_train}")
        if extended and self.problem != "two_body":
            raise ValueError("extended is for the problem two_body")
        of_file = "two_body", "top_tagging", "pairs"
        if root is not None and self.problem not in of_file:
            raise ValueError(f"root is for the problems {', '.join(of_file)}")
        self.root = None if root is None else os.path.expanduser(root)
        if self.problem == "pairs" and pairs is None:
            if root is None or num_train is not None:
                raise ValueError(
                    "the problem pairs needs root, a file with arrays x and y, and "
                    "takes all of it: leave num_train out"
                )
        elif y_type != "vectors":
            raise ValueError("y_type is for the problem pairs")
        if y_type not in Y_TYPES:
            raise ValueError(f"y_type must be one of {Y_TYPES}, got {y_type!r}")
        self.y_type = y_type
        self.split, self.extended = split, extended
        self.num_train, self.seed = num_train, seed
        self._given = pairs
        self._parts: list[Any] | None = None

    def prepare_data(self) -> None:
        """Nothing: the data are made on each process."""

    def setup(self, stage: str | None = None) -> None:
        """Makes the pairs, or reads them."""
        if self._parts is not None:
            return
        if self._given is not None:
            train, test = self._given, self._given
        elif self.problem == "pairs":
            train = test = read_pairs(str(self.root), self.y_type)
        elif self.problem == "two_body":
            train, test = self._two_body()
        elif self.problem == "three_body":
            number = self.num_train or 1000
            train, test = (
                step_pairs(three_body_orbits(n, seed), "three bodies")
                for n, seed in ((number, self.seed), (max(number // 5, 1), -1))
            )
        elif self.problem in ("toy_jets", "top_tagging"):
            number = self.num_train or 10_000
            train, test = (
                leading_constituents(self._jets(part, n))
                for part, n in (("train", number), ("test", max(number // 5, 1)))
            )
        else:
            make = discrete_rotation
            if self.problem == "lorentz_scattering":
                make = lorentz_scattering
            number = self.num_train or 20_000
            train, test = make(number, self.seed), make(max(number // 5, 1), -1)
        self.pairs = train
        digest = hashlib.sha256(repr(train.representation).encode())
        for tensor in (train.x, train.y):
            digest.update(tensor.contiguous().numpy().tobytes())
        self._fingerprint = digest.hexdigest()
        # The last tenth is looked at in training, to see whether it goes well.
        cut = max(len(train) - max(len(train) // 10, 1), 1)
        held = Subset(train, range(min(cut, len(train) - 1), len(train)))
        self._parts = [train, held, test]
        self.check_batch_size(len(train))

    def _jets(self, part: str, number: int) -> Jets:
        if self.problem == "toy_jets":
            return ToyJets(part, number, self.seed, unit=100.0, max_constituents=2)
        root = self.root or "data/TopTagging"
        return TopTagging(root, part, unit=100.0, max_constituents=2, limit=number)

    def share(self, other: DiscoveryDataModule) -> None:
        """Takes the pairs that another one with the same arguments has made."""
        self._parts, self._fingerprint = other.parts, other.fingerprint
        self.pairs = other.pairs

    def check_processes(self, num_processes: int) -> None:
        r"""Checks that one process looks for the symmetry.

        Raises:
            ValueError: If there are several, or too few pairs for a batch.
        """
        if num_processes > 1:
            raise ValueError("discovery runs on one process: set trainer.devices to 1")
        super().check_processes(num_processes)

    def _two_body(self) -> tuple[SymmetryPairs, SymmetryPairs]:
        number = self.num_train or 814
        if self.root is not None:
            train, test = read_two_body(self.root)
            if self.split == "iid":
                train, test = _shuffled(torch.cat([train, test]), len(train))
            if self.num_train is not None and self.num_train > len(train):
                raise ValueError(
                    f"num_train {self.num_train} is more than the {len(train)} orbits "
                    f"of {self.root}"
                )
            train = train[: self.num_train]
        else:
            halves = ("plane", "plane") if self.split == "iid" else ("lower", "upper")
            train, test = (
                two_body_orbits(number, half, 2 * self.seed + part)
                for part, half in enumerate(halves)
            )
        name = f"two bodies, {self.split.replace('_', ' ')}"
        train_pairs, test_pairs = (
            step_pairs(orbits, name, extended=self.extended) for orbits in (train, test)
        )
        return train_pairs, test_pairs

    @property
    def parts(self) -> list[Any]:
        """Training, validation and test pairs. Those of validation are from the
        training pairs."""
        self.setup()
        assert self._parts is not None
        return self._parts

    @staticmethod
    def name_in(config: Mapping[str, Any]) -> str:
        """The problem."""
        return str(config["problem"])

    @property
    def fingerprint(self) -> str:
        """A digest of the training pairs."""
        self.setup()
        return self._fingerprint

    def describe(self) -> str:
        """One sentence on the data, for the head of a run."""
        r = self.parts[0].representation
        y = {"vectors": "vectors", "scalars": "numbers", "labels": "classes"}[r.y_type]
        return (
            f"{self.pairs.name}: {len(self.pairs):,} training pairs, x of "
            f"{r.x_vectors} vectors of {r.size} entries, y of {r.y_size} {y}"
        )


def _shuffled(
    orbits: torch.Tensor, num_train: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Orbits, shared out at random, always in the same way."""
    order = torch.randperm(len(orbits), generator=torch.Generator().manual_seed(0))
    return orbits[order[:num_train]], orbits[order[num_train:]]
