"""Jets for Lightning: parts, limits, loaders."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lieconv_pyg.datasets import Jets, TopTagging, ToyJets, find_name
from lieconv_pyg.datasets.jets import SPLITS
from lieconv_pyg.training.base import SplitDataModule

#: Environment variable with the folder of the top tagging data.
ROOT_VARIABLE = "LIECONV_TOP_TAGGING_ROOT"
_KNOWN = ("toy", "top_tagging")


class JetDataModule(SplitDataModule):
    r"""Jets for training, validation and test.

    Args:
        dataset: ``toy`` (:class:`~lieconv_pyg.datasets.ToyJets`, which are made when
            they are needed) or ``top_tagging``
            (:class:`~lieconv_pyg.datasets.TopTagging`).
        root: Folder or NumPy file of the top tagging data. By default
            ``$LIECONV_TOP_TAGGING_ROOT``, else ``data/TopTagging``.
        num_train: Number of training jets, the first ones. By default all, of toy jets
            5,000.
        num_valid: Number of validation jets. By default all, of toy jets 1,000.
        num_test: Number of test jets. By default all, of toy jets 2,000.
        batch_size: Jets in a batch of each process. In training the last batch is left
            out if it is smaller; in validation and test it never is.
        unit: Unit of the momenta, in GeV.
        max_constituents: Keeps the hardest so many constituents of each jet.
        resolution: How far the momenta of toy jets are off, see there.
        seed: Other numbers, other toy jets.

    Raises:
        ValueError: If there is no such data set or a number is out of range; on use,
            if there are not so many jets, or fewer than a batch.
        FileNotFoundError: On use, if the top tagging data are not there.
    """

    examples = "jets"

    def __init__(
        self,
        dataset: str = "toy",
        root: str | None = None,
        num_train: int | None = None,
        num_valid: int | None = None,
        num_test: int | None = None,
        batch_size: int = 32,
        unit: float = 1.0,
        max_constituents: int | None = None,
        resolution: float = 0.25,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size)
        self.dataset = find_name(dataset, _KNOWN, "dataset")
        for name, number in (
            ("num_train", num_train),
            ("num_valid", num_valid),
            ("num_test", num_test),
            ("max_constituents", max_constituents),
        ):
            if number is not None and number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        if root is not None and self.dataset == "toy":
            raise ValueError("root does not go with dataset 'toy': leave it out")
        self.root = Path(root or os.environ.get(ROOT_VARIABLE) or "data/TopTagging")
        self.numbers = num_train, num_valid, num_test
        self.unit = unit
        self.max_constituents = max_constituents
        self.resolution = resolution
        self.seed = seed
        self._parts: tuple[Jets, Jets, Jets] | None = None

    def prepare_data(self) -> None:
        """Lets the files be read once, on one process."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Reads or makes the jets."""
        if self._parts is not None:
            return
        named = zip(SPLITS, self.numbers, strict=True)
        train, valid, test = (self._jets(split, number) for split, number in named)
        self.check_batch_size(len(train))
        self._parts = train, valid, test

    def _jets(self, split: str, number: int | None) -> Jets:
        settings: dict[str, Any] = dict(split=split, unit=self.unit)
        settings |= dict(max_constituents=self.max_constituents)
        if self.dataset == "toy":
            settings |= dict(seed=self.seed, resolution=self.resolution)
            return ToyJets(num=number, **settings)
        jets = TopTagging(self.root, limit=number, **settings)
        if number is not None and len(jets) < number:
            name = f"num_{'valid' if split == 'val' else split}"
            raise ValueError(
                f"{name} {number} is more than the {len(jets)} jets in {split} of "
                f"{self.dataset}"
            )
        return jets

    def share(self, other: JetDataModule) -> None:
        """Takes the jets that another one with the same arguments has."""
        self._parts = other.parts

    @property
    def parts(self) -> tuple[Jets, Jets, Jets]:
        """Training, validation and test jets."""
        self.setup()
        assert self._parts is not None
        return self._parts

    @property
    def title(self) -> str:
        """The data, for tables."""
        return type(self.parts[0]).__name__

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return self.parts[0].num_classes

    @staticmethod
    def name_in(config: Mapping[str, Any]) -> str:
        """The data set."""
        return config["dataset"]

    @property
    def fingerprint(self) -> str:
        """A digest of the first jets, and of how they were read."""
        known = [self.title, self.unit, self.max_constituents]
        digest = hashlib.sha256(repr(known).encode())
        for part in self.parts:
            digest.update(part[0].pos.numpy().tobytes())
            digest.update(part[0].y.numpy().tobytes())
        return digest.hexdigest()

    def describe(self) -> str:
        """One sentence on the data, for the head of a run."""
        train, valid, test = self.parts
        counts = train.counts
        return (
            f"{self.title}: {len(train)} training, {len(valid)} validation and "
            f"{len(test)} test jets of {counts.min()} to {counts.max()} constituents"
        )
