"""What a run that looks for a symmetry leaves: the basis, its score, figures."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lieconv_pyg.discovery import (
    BasisScore,
    InvariantMetric,
    invariant_metric,
    score_basis,
)
from lieconv_pyg.discovery.plots import plot_basis, plot_losses, plot_metric
from lieconv_pyg.training.discovery_module import DiscoveryModule
from lieconv_pyg.training.report import RunReport


@dataclass(frozen=True)
class Discovery:
    r"""A symmetry that was found.

    Args:
        model (str): What found it.
        source (str): In which data.
        basis (Tensor): Its generators :math:`(c, n, n)`, with their lengths as they are
            used; some may be superfluous, see
            :func:`~lieconv_pyg.discovery.clean_basis`.
        score (BasisScore, optional): Beside the true ones, where these are known.
        metric (InvariantMetric, optional): What they keep.
        restarts (int): How often the method had to begin anew.
        collapse (str, optional): What is wrong with it, if anything.
        seconds (float, optional): Time of the training.
    """

    model: str
    source: str
    basis: Tensor
    score: BasisScore | None
    metric: InvariantMetric | None
    restarts: int = 0
    collapse: str | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        rows = [f"{self.model}: {len(self.basis)} channels on {self.source}"]
        if self.collapse:
            rows.append(f"no symmetry was found: {self.collapse}")
        if self.score is not None:
            rows.append(str(self.score))
        if self.metric is not None:
            rows.append(
                f"metric, invariant up to scale: residual {self.metric.residual:.2g}, "
                f"over that of the next best {self.metric.gap:.2g}"
            )
        if self.restarts:
            rows.append(f"began anew {self.restarts} times")
        return "\n".join(rows)


class DiscoveryReport(RunReport):
    r"""Keeps the losses of each epoch and what was found, and writes ``basis.json``,
    ``symmetry.txt``, ``basis.png``, ``metric.png`` and ``losses.png``.

    Args:
        folder (path, optional): Where to write; :obj:`None` writes nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder)
        self.test: Discovery | None = None
        #: The losses of each player, an entry an epoch.
        self.losses: dict[str, list[float]] = {}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes the losses of the epoch."""
        super().on_train_epoch_end(trainer, pl_module)
        for player in pl_module.players:  # type: ignore[union-attr]
            value = trainer.callback_metrics.get(f"train/{player.name}", torch.nan)
            self.losses.setdefault(player.name, []).append(float(value))

    def state_dict(self) -> dict[str, Any]:
        """The history with the losses."""
        return {**super().state_dict(), "losses": self.losses}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes those of the run that is resumed."""
        super().load_state_dict(state_dict)
        self.losses = self.losses or state_dict["losses"]

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at what was found."""
        assert isinstance(pl_module, DiscoveryModule)
        pairs = trainer.datamodule.parts[0]  # type: ignore[attr-defined]
        method = pl_module.network
        basis = method.find_basis(pairs.x, pairs.y).detach().cpu().double()
        collapse = pl_module.collapse or pl_module.look(pairs.x)
        score = metric = None
        if not bool(basis.isfinite().all()) or not bool(basis.any()):
            collapse = "the basis is zero, or has entries that are not finite"
        else:
            lengths = basis.flatten(1).norm(dim=1)
            used = basis[lengths > 5e-2 * lengths.max()]
            with suppress(ValueError):  # where there are scalings only
                metric = invariant_metric(used, up_to_scale=True)
            if pairs.true_basis is not None:
                score = score_basis(
                    basis,
                    pairs.true_basis,
                    pairs.points().double(),
                    mask=pairs.representation.mask_tensor(),
                )
        self.test = Discovery(
            type(method).__name__,
            pairs.name,
            basis,
            score,
            metric,
            pl_module.restarts,
            collapse,
            self.seconds,
        )
        if self.folder is not None and trainer.is_global_zero:
            self._write(self.folder, self.test, pairs.true_basis)

    def _write(self, folder: Path, test: Discovery, true: Tensor | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "symmetry.txt").write_text(f"{test}\n")
        (folder / "basis.json").write_text(json.dumps(test.basis.tolist()) + "\n")
        names = ["symmetry.txt", "basis.json"]
        if test.metric is not None:
            bases = {test.model: test.basis} | ({} if true is None else {"true": true})
            plot_basis(bases, folder / "basis.png")
            plot_metric(test.metric, folder / "metric.png")
            names += ["basis.png", "metric.png"]
        if self.losses:
            names.append("losses.png")
            plot_losses(self.losses, folder / names[-1])
        self.files = [folder / name for name in names]
