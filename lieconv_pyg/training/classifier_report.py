"""What a run of a classifier leaves, whatever it classifies."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lieconv_pyg.training.plots import learning_curve
from lieconv_pyg.training.processes import gather
from lieconv_pyg.training.report import OutputsReport, model_name


class ClassifierReport(OutputsReport):
    r"""Keeps the error of each epoch in % and the test predictions, and writes
    ``learning_curve.png``. A subclass writes more.

    Args:
        folder (path, optional): Where to write; :obj:`None` writes nothing.
    """

    errors = ("train/error", "val/error")
    monitor = "val/error"
    #: What is classified, in figures.
    examples = "examples"

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder)
        self.test: Any = None

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the predictions together and writes the files, on the first process."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        sampler = trainer.test_dataloaders.sampler  # type: ignore[union-attr]
        index, label, probability = in_order(self._outputs, list(sampler))
        network: Any = pl_module.network
        self.test = self.tested(
            probability,
            model=model_name(network),
            source=data.title,
            labels=label,
            num_parameters=sum(p.numel() for p in network.parameters()),
            num_train=len(data.parts[0]),
            seconds=self.seconds,
        )
        if self.folder is None or not trainer.is_global_zero:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.files = self.write(self.folder, data.parts[2], index)
        if self.history:
            self.files.append(self.folder / "learning_curve.png")
            histories = {self.test.model: self.history}
            learning_curve(histories, f"misread {self.examples} (%)", self.files[-1])

    @abstractmethod
    def tested(self, probability: Tensor, **kwargs: Any) -> Any:
        """What is kept of the probabilities (M, C) of the classes."""

    @abstractmethod
    def write(self, folder: Path, data: Any, index: Tensor) -> list[Path]:
        """Writes files of :attr:`test`, on those of the data with these numbers, and
        returns their paths."""


def in_order(
    outputs: Sequence[dict[str, Tensor]], indices: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers, labels and probabilities of the examples of all processes, each once, in
    the order of the data: the same on every process."""
    label, probability = (
        torch.cat([o[key] for o in outputs]) for key in ("label", "probability")
    )
    # A trial run has fewer than there are.
    shares = gather((torch.tensor(indices[: len(label)]), label, probability))
    index, label, probability = (torch.cat(s) for s in zip(*shares, strict=True))
    order = index.argsort(stable=True)
    index = index[order]
    first = torch.ones_like(index, dtype=torch.bool)
    first[1:] = index[1:] != index[:-1]
    return index[first], label[order][first], probability[order][first]
