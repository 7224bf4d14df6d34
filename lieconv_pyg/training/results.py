"""Test predictions of a model and its error beside simple predictors'."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lieconv_pyg.datasets import Target


@dataclass(frozen=True)
class Predictions:
    r"""Predictions of a trained model for the test molecules.

    Args:
        model (str): What predicted.
        target (Target): What was predicted.
        names (list of str): The molecules.
        values (Tensor): The target of each, (M).
        predicted (Tensor): The prediction for each, (M).
        offset (Tensor): References plus median of each: what a model that
            knows the composition alone would say, (M).
        mean (float): Mean of the training molecules.
        referenced (bool): Whether references were subtracted.
        num_parameters (int): Size of the model.
        num_train (int): Number of training molecules.
        seconds (float, optional): Time of the training.
    """

    model: str
    target: Target
    names: list[str]
    values: Tensor
    predicted: Tensor
    offset: Tensor
    mean: float
    referenced: bool
    num_parameters: int
    num_train: int
    seconds: float | None = None

    @property
    def mae(self) -> float:
        """Mean absolute error of the model."""
        return float((self.predicted - self.values).abs().mean())

    @property
    def rmse(self) -> float:
        """Root mean square error of the model."""
        return float((self.predicted - self.values).square().mean().sqrt())

    def simple(self) -> list[tuple[str, float, float]]:
        """Name, MAE and RMSE of the predictors that look at no geometry."""
        mean = torch.full_like(self.values, self.mean)
        rows = [("mean of the training molecules", mean)]
        name = "element references" if self.referenced else "median"
        rows.append((f"{name} of the training molecules", self.offset))
        errors = [(name, guess - self.values) for name, guess in rows]
        return [
            (name, float(e.abs().mean()), float(e.square().mean().sqrt()))
            for name, e in errors
        ]

    def write_csv(self, path: str | os.PathLike) -> None:
        """Writes name, target and prediction, with the unit in the head."""
        unit = self.target.unit
        with Path(path).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["name", f"target ({unit})", f"prediction ({unit})"])
            for name, value, guess in zip(
                self.names, self.values.tolist(), self.predicted.tolist(), strict=True
            ):
                writer.writerow([name, f"{value:.8g}", f"{guess:.8g}"])


def error_table(results: Sequence[Predictions]) -> str:
    r"""Test errors of models for the same molecules, as text.

    Args:
        results (sequence of Predictions): One a model; the first one's
            training molecules make the simple predictors below them.
    """
    first = results[0]
    unit = first.target.unit
    head = ("test error", f"MAE ({unit})", f"RMSE ({unit})", "parameters", "training")
    rows = [head]
    for r in sorted(results, key=lambda r: r.mae):
        time = "" if r.seconds is None else f"{r.seconds:.0f} s"
        rows.append(
            (r.model, _digits(r.mae), _digits(r.rmse), f"{r.num_parameters:,}", time)
        )
    for name, mae, rmse in first.simple():
        rows.append((name, _digits(mae), _digits(rmse), "", ""))
    first_width, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = []
    for name, *cells in rows:
        right = (cell.rjust(n) for cell, n in zip(cells, widths, strict=True))
        lines.append("  ".join([name.ljust(first_width), *right]).rstrip())
    lines.insert(1, "-" * max(len(line) for line in lines))
    title = (
        f"{first.target.name}, {len(first.values)} test molecules, trained on "
        f"{first.num_train}"
    )
    return "\n".join([title, "", *lines])


def _digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:#.3g}".rstrip(".")
