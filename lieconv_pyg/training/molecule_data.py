"""Molecules for Lightning: loading, split, statistics, loaders."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from lieconv_pyg.datasets import (
    Molecules,
    Statistics,
    Target,
    limit_split,
    load_molecules,
    qm9_split,
    random_split,
    target_statistics,
)
from lieconv_pyg.training.base import SplitDataModule


class MoleculeDataModule(SplitDataModule):
    r"""Molecules with one target, split into training, validation and test.

    Args:
        dataset: ``qm9``, ``g2`` (measured molecules that come with ASE), or the path
            of a file that ASE reads.
        target: Name of the target: ``homo``, ``U0``, ... of QM9; ``ZPE``,
            ``enthalpy``, ... of G2; the property of a file.
        root: Folder of QM9. By default ``$LIECONV_QM9_ROOT``, else ``data/QM9``.
        unit: Unit of a file's target.
        extensive: Whether a file's target grows with the number of atoms.
        limit: Number of molecules to use in all, or of training, validation and
            test molecules each. By default all.
        fractions: Shares of training, validation and test. By default the
            published ones for QM9, else 0.8, 0.1 and 0.1.
        split_seed: Seed of the split.
        references: Values by element that are subtracted from the target: ``fit``
            (least squares on the training molecules), ``dataset`` (QM9's energies of
            single atoms, as published), ``none``, or ``auto``: ``fit`` if the
            target is extensive, else ``none``.
        batch_size: Molecules in a batch of each process. In training the last batch is
            left out if it is smaller; in validation and test it never is.
        download: Whether to fetch QM9 where it is not on disk.

    Raises:
        ValueError: On use, if the data cannot be had, a part would be empty or
            holds less than a batch; the message says what to change.
    """

    examples = "molecules"

    def __init__(
        self,
        dataset: str = "qm9",
        target: str = "homo",
        root: str | None = None,
        unit: str | None = None,
        extensive: bool | None = None,
        limit: int | list[int] | None = None,
        fractions: list[float] | None = None,
        split_seed: int = 0,
        references: Literal["auto", "fit", "dataset", "none"] = "auto",
        batch_size: int = 75,
        download: bool = False,
    ) -> None:
        super().__init__(batch_size)
        self.save_hyperparameters(logger=False)
        self.dataset = dataset
        self.target_name = target
        self._load = partial(
            load_molecules, dataset, target, root, unit, extensive, download
        )
        self.limit = limit
        self.fractions = fractions
        self.split_seed = split_seed
        self.references = references
        self._parts: tuple[Molecules, Molecules, Molecules] | None = None
        self._statistics: Statistics | None = None

    def prepare_data(self) -> None:
        """Lets PyG download and process once, on one process."""
        if self._parts is None and self.dataset.lower() == "qm9":
            self._load()

    def setup(self, stage: str | None = None) -> None:
        """Loads and splits the molecules and takes the training statistics."""
        if self._parts is not None:
            return
        molecules = self._load()
        self._fingerprint = molecules.fingerprint()
        num = len(molecules)
        if self.fractions is not None:
            split = random_split(num, self.fractions, self.split_seed)
        elif self.dataset.lower() == "qm9":
            split = qm9_split(num, self.split_seed)
        else:
            split = random_split(num, (0.8, 0.1, 0.1), self.split_seed)
        train, valid, test = limit_split(split, self.limit)
        self.check_batch_size(len(train))
        parts = (molecules.select(train), molecules.select(valid))
        self._statistics = target_statistics(parts[0], self.references)
        self._parts = (*parts, molecules.select(test))

    def share(self, other: MoleculeDataModule) -> None:
        """Takes the molecules that another one with the same arguments has loaded."""
        self._parts, self._statistics = other._parts, other._statistics
        self._fingerprint = other._fingerprint

    @property
    def parts(self) -> tuple[Molecules, Molecules, Molecules]:
        """Training, validation and test molecules."""
        self.setup()
        assert self._parts is not None
        return self._parts

    @property
    def statistics(self) -> Statistics:
        """Median, deviation and references of the training molecules."""
        self.setup()
        assert self._statistics is not None
        return self._statistics

    @staticmethod
    def name_in(config: Mapping[str, Any]) -> str:
        """The dataset."""
        return config["dataset"]

    @property
    def fingerprint(self) -> str:
        """A digest of all molecules and their targets, before the split."""
        self.setup()
        return self._fingerprint

    @property
    def target(self) -> Target:
        """What is predicted, with its unit."""
        return self.parts[0].target

    def elements(self) -> list[int]:
        """Atomic numbers that occur in any part."""
        return sorted({z for part in self.parts for z in part.elements()})

    def describe(self) -> str:
        """One sentence on the data, for the head of a run."""
        train, valid, test = self.parts
        kind = {
            "none": "",
            "dataset": ", single-atom references subtracted",
            "fit": ", fitted element references subtracted",
        }[self.statistics.kind]
        about = f" ({self.target.description})" if self.target.description else ""
        return (
            f"{train.source}: {len(train)} training, {len(valid)} validation and "
            f"{len(test)} test molecules; {self.target.name}{about} in "
            f"{self.target.unit}{kind}"
        )
