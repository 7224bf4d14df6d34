"""What a run on molecules leaves: predictions and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lieconv_pyg.training.plots import learning_curve, parity_plot
from lieconv_pyg.training.processes import gather
from lieconv_pyg.training.report import OutputsReport, model_name
from lieconv_pyg.training.results import Predictions

_SHORT = {"qm9": "QM9", "g2": "G2"}


class MoleculeReport(OutputsReport):
    r"""Keeps the errors of each epoch and the test predictions, and writes them as
    ``predictions.csv``, ``parity.png`` and ``learning_curve.png``.

    Args:
        folder (path, optional): Where to write; :obj:`None` writes nothing.
    """

    errors = ("train/mae", "val/mae")

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder)
        self.predictions: Predictions | None = None

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the predictions together and writes the files, on the first process."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        names, values = _in_order(self._outputs, _indices(trainer))
        network: Any = pl_module.network
        self.predictions = Predictions(
            model=model_name(network),
            target=data.target,
            names=names,
            values=values[0],
            predicted=values[1],
            offset=values[2],
            mean=data.statistics.mean,
            referenced=data.statistics.kind != "none",
            num_parameters=sum(p.numel() for p in network.parameters()),
            num_train=len(data.parts[0]),
            source=_SHORT.get(data.dataset.lower(), Path(data.dataset).name),
            seconds=self.seconds,
            force_mae=_force_mae(pl_module),
        )
        if self.folder is not None and trainer.is_global_zero:
            self._write(self.folder, self.predictions)

    def _write(self, folder: Path, predictions: Predictions) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.files = [folder / "predictions.csv", folder / "parity.png"]
        predictions.write_csv(self.files[0])
        parity_plot([predictions], self.files[1])
        if self.history:
            self.files.append(folder / "learning_curve.png")
            learning_curve(
                {predictions.model: self.history},
                predictions.target,
                self.files[2],
                predictions.simple(),
            )


def _force_mae(module: Any) -> float | None:
    """The error of the test forces, where forces are trained."""
    if getattr(module, "force_weight", None) is None:
        return None
    return float(module.metrics["test_force_mae"].compute())


def _indices(trainer: Trainer) -> list[int]:
    """The test molecules that this process has, in the order of its batches."""
    return list(trainer.test_dataloaders.sampler)  # type: ignore[union-attr]


def _in_order(
    outputs: list[dict[str, Any]], indices: list[int]
) -> tuple[list[str], list[Tensor]]:
    """Names and values of the molecules of all processes, each once, in the order of
    the data: the same on every process."""
    keys = ("target", "prediction", "offset")
    names = [name for o in outputs for name in o["name"]]
    rows = [torch.cat([o[key] for o in outputs]) for key in keys]
    # A trial run has fewer than there are.
    shares = gather((indices[: len(names)], names, rows))
    index = [i for share in shares for i in share[0]]
    name = [n for share in shares for n in share[1]]
    first = {i: at for at, i in reversed(list(enumerate(index)))}
    order = [first[i] for i in sorted(first)]
    values = [torch.cat(v)[order] for v in zip(*(s[2] for s in shares), strict=True)]
    return [name[at] for at in order], values
