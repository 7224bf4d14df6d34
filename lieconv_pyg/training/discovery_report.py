"""What a run that looks for a symmetry leaves: the basis, its score, figures."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lieconv_pyg.discovery import (
    BasisScore,
    InvariantMetric,
    invariant_metric,
    score_basis,
)
from lieconv_pyg.discovery.plots import plot_basis, plot_metric
from lieconv_pyg.training.discovery_module import DiscoveryModule
from lieconv_pyg.training.plots import learning_curve
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
    ``symmetry.txt``, ``basis.png``, ``metric.png`` and ``learning_curve.png``.

    Args:
        folder (path, optional): Where to write; :obj:`None` writes nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder)
        self.test: Discovery | None = None

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
        if self.history:
            names.append("learning_curve.png")
            learning_curve({test.model: self.history}, "loss", folder / names[-1])
        self.files = [folder / name for name in names]
