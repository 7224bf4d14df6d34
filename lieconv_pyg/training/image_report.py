"""What a run on images leaves: predictions, confusions, figures."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.datasets import PointImages
from lieconv_pyg.training.classifier_report import ClassifierReport
from lieconv_pyg.training.image_plots import confusion_plot, misread_plot
from lieconv_pyg.training.results import text_table

_SHOWN = 40  # misread images in the figure


@dataclass(frozen=True)
class ImageTest:
    r"""Predictions of a trained network for the test images.

    Args:
        model (str): What predicted.
        source (str): Which images.
        labels (Tensor): The class of each (M).
        probabilities (Tensor): What each class got (M, C).
        num_parameters (int): Size of the model.
        num_train (int): Number of training images.
        seconds (float, optional): Time of the training.
    """

    model: str
    source: str
    labels: Tensor
    probabilities: Tensor
    num_parameters: int
    num_train: int
    seconds: float | None = None

    @property
    def predicted(self) -> Tensor:
        """The class that is predicted for each (M)."""
        return self.probabilities.argmax(1)

    @property
    def num_wrong(self) -> int:
        """How many are misread."""
        return int((self.predicted != self.labels).sum())

    @property
    def error(self) -> float:
        """The share of misread images, in %."""
        return 100 * self.num_wrong / len(self.labels)

    @property
    def uncertainty(self) -> float:
        r"""The standard error of :attr:`error`,
        :math:`100 \sqrt{p (1 - p) / M}`, in %."""
        return (self.error * (100 - self.error) / len(self.labels)) ** 0.5

    @property
    def error_text(self) -> str:
        """The error with its standard error."""
        digits = 2 if self.uncertainty < 0.1 else 1
        return f"{self.error:.{digits}f} ± {self.uncertainty:.{digits}f} %"

    def confusion(self) -> Tensor:
        """How many images of each class (row) are taken for which (column): (C, C)."""
        size = self.probabilities.size(1)
        pairs = self.labels * size + self.predicted
        return torch.bincount(pairs, minlength=size**2).view(size, size)

    def surest_errors(self, number: int) -> list[int]:
        """The misread images whose predicted class has the largest probabilities."""
        wrong = (self.predicted != self.labels).nonzero().view(-1)
        sure = self.probabilities[wrong].amax(1).argsort(descending=True, stable=True)
        return wrong[sure][:number].tolist()

    def write_csv(self, path: str | os.PathLike) -> None:
        """Writes for each image its class, the predicted one, and the probability that
        its own class got."""
        own = self.probabilities.gather(1, self.labels[:, None]).squeeze(1)
        rows = zip(self.labels.tolist(), self.predicted.tolist(), own, strict=True)
        with Path(path).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["index", "label", "predicted", "probability of the label"])
            for index, (label, found, share) in enumerate(rows):
                writer.writerow([index, label, found, f"{float(share):.6g}"])

    def write_confusion(self, path: str | os.PathLike) -> None:
        """Writes :meth:`confusion`, with classes in the first row and column."""
        counts = self.confusion().tolist()
        with Path(path).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["true \\ predicted", *range(len(counts))])
            writer.writerows([label, *row] for label, row in enumerate(counts))


def image_table(results: Sequence[ImageTest]) -> list[list[str]]:
    """Test errors of networks as rows of cells, the head first."""
    rows = [["network", "test error", "misread", "parameters", "training"]]
    for r in results:
        time = "" if r.seconds is None else f"{r.seconds:.0f} s"
        rows.append(
            [r.model, r.error_text, f"{r.num_wrong:,}", f"{r.num_parameters:,}", time]
        )
    return rows


def image_text(results: Sequence[ImageTest]) -> str:
    """Test errors as text."""
    first = results[0]
    head = f"{first.source}, {len(first.labels):,} test images, trained on "
    table = text_table(image_table(results))
    return "\n".join([f"{head}{first.num_train:,}", "", *table])


class ImageReport(ClassifierReport):
    r"""Keeps the error of each epoch in % and the test predictions, and writes
    ``predictions.csv``, ``confusion.csv``, ``confusion.png``, ``misread.png`` (if there
    are any) and ``learning_curve.png``.

    Args:
        folder (path, optional): Where to write; :obj:`None` writes nothing.
    """

    examples = "images"
    test: ImageTest | None

    def tested(self, probability: Tensor, **kwargs: Any) -> ImageTest:
        """The predictions."""
        return ImageTest(probabilities=probability, **kwargs)

    def write(self, folder: Path, data: PointImages, index: Tensor) -> list[Path]:
        """Writes predictions, confusions and the surest errors."""
        assert self.test is not None
        names = ["predictions.csv", "confusion.csv", "confusion.png"]
        files = [folder / name for name in names]
        self.test.write_csv(files[0])
        self.test.write_confusion(files[1])
        confusion_plot(self.test, files[2])
        if which := self.test.surest_errors(_SHOWN):
            files.append(folder / "misread.png")
            misread_plot(self.test, _plain(data[index][which]), which, files[-1])
        return files


def _plain(images: PointImages) -> Tensor:
    """Images (M, C, H, W) with their values before they were normalised, and 0 where
    there are no points."""
    to_points = images.to_points
    mean, std = (
        torch.tensor(usual if value is None else value).view(-1, 1, 1)
        for value, usual in ((to_points.mean, 0.0), (to_points.std, 1.0))
    )
    return (images.images() * std + mean) * to_points.mask(*images.image_size)
