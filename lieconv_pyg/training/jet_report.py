"""What a run on jets leaves: predictions, curves, figures."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lieconv_pyg.figures import COLOURS, new_figure
from lieconv_pyg.training.classifier_report import ClassifierReport
from lieconv_pyg.training.jet_metrics import (
    background_efficiency,
    background_rejection,
    roc_auc,
    roc_curve,
)
from lieconv_pyg.training.results import text_table

#: Shares of the signal at which rejections of the background are stated.
EFFICIENCIES = (0.5, 0.3)


@dataclass(frozen=True)
class JetTest:
    r"""Predictions of a trained network for the test jets.

    Args:
        model (str): What predicted.
        source (str): Which jets.
        labels (Tensor): The class of each, 1 for signal (M).
        scores (Tensor): The probability of signal that each got (M).
        num_parameters (int): Size of the model.
        num_train (int): Number of training jets.
        seconds (float, optional): Time of the training.
    """

    model: str
    source: str
    labels: Tensor
    scores: Tensor
    num_parameters: int
    num_train: int
    seconds: float | None = None

    @property
    def accuracy(self) -> float:
        """The share of jets whose own class got the larger probability, in %."""
        right = (self.scores > 0.5) == (self.labels == 1)
        return 100 * float(right.double().mean())

    @property
    def uncertainty(self) -> float:
        r"""The standard error of :attr:`accuracy`,
        :math:`100 \sqrt{p (1 - p) / M}`, in %."""
        return (self.accuracy * (100 - self.accuracy) / len(self.labels)) ** 0.5

    @property
    def auc(self) -> float:
        """The area under the ROC curve, see :func:`roc_auc`."""
        return roc_auc(self.labels, self.scores)

    def rejection(self, signal: float) -> float:
        """See :func:`background_rejection`."""
        return background_rejection(self.labels, self.scores, signal)

    @property
    def accuracy_text(self) -> str:
        """The accuracy with its standard error."""
        return f"{self.accuracy:.2f} ± {self.uncertainty:.2f} %"

    def rejection_text(self, signal: float) -> str:
        r"""The rejection :math:`R` with its standard error :math:`R \sqrt{(1 -
        \varepsilon_B) / (N_B \varepsilon_B)}`; where no background passes, that it is
        more than the number :math:`N_B` of them."""
        number = int((self.labels == 0).sum())
        share = background_efficiency(self.labels, self.scores, signal)
        if math.isnan(share):
            return "–"
        if share == 0:
            return f"> {number:,}"
        error = ((1 - share) / (number * share)) ** 0.5 / share
        return f"{_three_digits(1 / share)} ± {_three_digits(error)}"

    def write_csv(self, path: str | os.PathLike) -> None:
        """Writes for each jet its class and the probability of signal that it got."""
        rows = zip(self.labels.tolist(), self.scores.tolist(), strict=True)
        with Path(path).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["index", "label", "probability of signal"])
            for index, (label, score) in enumerate(rows):
                writer.writerow([index, label, f"{score:.6g}"])

    def write_roc(self, path: str | os.PathLike) -> None:
        """Writes the shares of signal and background that pass."""
        curve = roc_curve(self.labels, self.scores)
        with Path(path).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["signal efficiency", "background efficiency"])
            for pair in zip(*(part.tolist() for part in curve), strict=True):
                writer.writerow([f"{share:.6g}" for share in pair])


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def jet_table(results: Sequence[JetTest]) -> list[list[str]]:
    """Test results of networks as rows of cells, the head first."""
    rejections = [f"1/ε_B at {share:.0%}" for share in EFFICIENCIES]
    rows = [["network", "accuracy", "AUC", *rejections, "parameters", "training"]]
    for r in results:
        time = "" if r.seconds is None else f"{r.seconds:.0f} s"
        cells = [r.model, r.accuracy_text, f"{r.auc:.4f}"]
        cells += [r.rejection_text(share) for share in EFFICIENCIES]
        rows.append([*cells, f"{r.num_parameters:,}", time])
    return rows


def jet_text(results: Sequence[JetTest]) -> str:
    """Test results as text."""
    first = results[0]
    head = f"{first.source}, {len(first.labels):,} test jets, trained on "
    table = text_table(jet_table(results))
    return "\n".join([f"{head}{first.num_train:,}", "", *table])


def roc_plot(results: Sequence[JetTest], path: str | os.PathLike) -> None:
    r"""Plots the rejection of the background over the share of the signal that passes.

    Args:
        results (sequence of JetTest): One a model, for the same jets.
        path (path): The PNG file to write.
    """
    figure = new_figure(5.4, 4.2, 150)
    axes = figure.add_subplot()
    for number, r in enumerate(results):
        signal, background = roc_curve(r.labels, r.scores)
        seen = background > 0
        label = f"{r.model}, AUC {r.auc:.4f}"
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(signal[seen], 1 / background[seen], color=colour, label=label)
    axes.set_yscale("log")
    axes.set(xlabel="signal efficiency", ylabel="background rejection 1/ε_B")
    axes.set(xlim=(0, 1), title=results[0].source)
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", fontsize=9, frameon=False)
    figure.savefig(path, bbox_inches="tight", pad_inches=0.08)


class JetReport(ClassifierReport):
    r"""Keeps the error of each epoch in % and the test predictions, and writes
    ``predictions.csv``, ``roc.csv``, ``roc.png`` and ``learning_curve.png``.

    Args:
        folder (path, optional): Where to write; :obj:`None` writes nothing.
    """

    examples = "jets"
    test: JetTest | None

    def tested(self, probability: Tensor, **kwargs: Any) -> JetTest:
        """The predictions."""
        return JetTest(scores=probability[:, 1], **kwargs)

    def write(self, folder: Path, data: Any, index: Tensor) -> list[Path]:
        """Writes predictions and the ROC curve."""
        assert self.test is not None
        files = [folder / name for name in ("predictions.csv", "roc.csv", "roc.png")]
        self.test.write_csv(files[0])
        self.test.write_roc(files[1])
        roc_plot([self.test], files[2])
        return files
