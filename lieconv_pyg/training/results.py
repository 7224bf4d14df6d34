"""Test predictions of a model and its error beside simple predictors'."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from lieconv_pyg.datasets import Target


class Errors(NamedTuple):
    """Mean absolute error, its standard error over the molecules (NaN for a single
    one), and root mean square error; of a vector's components."""

    mae: float
    uncertainty: float
    rmse: float

    @classmethod
    def of(cls, difference: Tensor) -> Errors:
        """The errors of these differences, (M) or (M, 3)."""
        size = difference.abs().view(len(difference), -1).mean(1)
        spread = float(size.std()) / len(size) ** 0.5 if len(size) > 1 else math.nan
        return cls(float(size.mean()), spread, float(difference.square().mean().sqrt()))

    def text(self) -> tuple[str, str]:
        """MAE with its standard error, and RMSE, to three digits of the MAE."""
        digits = 2
        if math.isfinite(self.mae) and self.mae > 0:
            digits = min(max(0, 2 - math.floor(math.log10(self.mae))), 9)
        mae, spread, rmse = (f"{value:,.{digits}f}" for value in self)
        return mae if math.isnan(self.uncertainty) else f"{mae} ± {spread}", rmse


@dataclass(frozen=True)
class Predictions:
    r"""Predictions of a trained model for the test molecules.

    Args:
        model (str): What predicted.
        target (Target): What was predicted.
        names (list of str): The molecules.
        values (Tensor): The target of each, (M), or (M, 3) for a vector.
        predicted (Tensor): The prediction for each, alike.
        offset (Tensor): References plus median of each: what a model that
            knows the composition alone would say, alike.
        mean (Tensor): Mean of the training molecules, () or (3).
        referenced (bool): Whether references were subtracted.
        num_parameters (int): Size of the model.
        num_train (int): Number of training molecules.
        source (str, optional): Where the molecules come from. (default: :obj:`""`)
        seconds (float, optional): Time of the training.
        force_mae (float, optional): Mean absolute error of a force's component, in
            the target's unit per Å, if forces were trained.
    """

    model: str
    target: Target
    names: list[str]
    values: Tensor
    predicted: Tensor
    offset: Tensor
    mean: Tensor | float
    referenced: bool
    num_parameters: int
    num_train: int
    source: str = ""
    seconds: float | None = None
    force_mae: float | None = None

    @property
    def mae(self) -> float:
        """Mean absolute error of the model."""
        return self.errors().mae

    def errors(self) -> Errors:
        """Errors of the model."""
        return Errors.of(self.predicted - self.values)

    def simple(self) -> dict[str, Errors]:
        """Errors of the predictors that look at no geometry, by name."""
        kind = "element references" if self.referenced else "median"
        if self.values.dim() > 1:
            return {"the zero vector": Errors.of(-self.values)}
        return {
            "mean of the training molecules": Errors.of(self.mean - self.values),
            f"{kind} of the training molecules": Errors.of(self.offset - self.values),
        }

    @property
    def title(self) -> str:
        """What was predicted for which molecules."""
        where = f" of {self.source}" if self.source else ""
        return f"{self.target.name}, {len(self.values)} test molecules{where}"

    def write_csv(self, path: str | os.PathLike) -> None:
        """Writes name, target and prediction, with the unit in the head."""
        columns = {"target": self.values, "prediction": self.predicted}
        write_csv(path, self.names, columns, self.target.unit)


def write_csv(
    path: str | os.PathLike,
    names: Sequence[str],
    columns: Mapping[str, Tensor],
    unit: str,
) -> None:
    r"""Writes a row for each molecule, with the unit in the head.

    Args:
        path (path): The file.
        names (sequence of str): The molecules.
        columns (mapping): What to write for each, (M), or (M, 3) for three columns.
        unit (str): Their unit.
    """
    head, tables = ["name"], []
    for name, values in columns.items():
        axes = [""] if values.dim() == 1 else [" x", " y", " z"]
        head += [f"{name}{axis} ({unit})" for axis in axes]
        tables.append(values.view(len(names), -1))
    with Path(path).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for name, row in zip(names, torch.cat(tables, 1).tolist(), strict=True):
            writer.writerow([name, *(f"{value:.10g}" for value in row)])


def error_table(results: Sequence[Predictions]) -> str:
    r"""Test errors of models for the same molecules, as text.

    Args:
        results (sequence of Predictions): One a model; the first one's
            training molecules make the simple predictors below them.
    """
    first = results[0]
    unit = first.target.unit
    rows = [["test error", f"MAE ({unit})", f"RMSE ({unit})", "parameters", "training"]]
    results = sorted(results, key=lambda r: r.mae)
    for r in results:
        time = "" if r.seconds is None else f"{r.seconds:.0f} s"
        rows.append([r.model, *r.errors().text(), f"{r.num_parameters:,}", time])
    if any(r.force_mae is not None for r in results):
        forces = ["" if r.force_mae is None else f"{r.force_mae:.3g}" for r in results]
        for row, cell in zip(rows, [f"force MAE ({unit}/Å)", *forces], strict=True):
            row.insert(3, cell)
    for name, errors in first.simple().items():
        row = [name, *errors.text()]
        rows.append(row + [""] * (len(rows[0]) - len(row)))
    return "\n".join(
        [f"{first.title}, trained on {first.num_train}", "", *text_table(rows)]
    )


def text_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, with the first row as its head and the first column to the
    left."""
    first_width, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = []
    for name, *cells in rows:
        right = (cell.rjust(n) for cell, n in zip(cells, widths, strict=True))
        lines.append("  ".join([name.ljust(first_width), *right]).rstrip())
    lines.insert(1, "-" * max(len(line) for line in lines))
    return lines
