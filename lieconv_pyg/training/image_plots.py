"""Figures of classified images. They need no display."""

from __future__ import annotations

import os
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lieconv_pyg.figures import COLOURS, new_figure

if TYPE_CHECKING:
    from lieconv_pyg.training.image_report import ImageTest

_TIGHT: Any = {"bbox_inches": "tight", "pad_inches": 0.1}
_COLUMNS = 8


def confusion_plot(test: ImageTest, path: str | os.PathLike) -> None:
    r"""Plots how many images of each class are taken for which. Colours are shares of
    the images of a class, of those that are misread on a scale of their own.

    Args:
        test (ImageTest): What the test has found.
        path (path): The PNG file to write.
    """
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import MaxNLocator

    counts = test.confusion()
    number = len(counts)
    wrong = 100 * counts / counts.sum(1, keepdim=True).clamp(min=1)
    wrong.fill_diagonal_(0)
    top = max(float(wrong.max()), 5.0)  # a single one stays pale
    red, blue = (
        LinearSegmentedColormap.from_list("white to colour", ["white", colour])
        for colour in (COLOURS[4], COLOURS[0])
    )
    figure = new_figure(1.6 + 0.46 * number, 1.2 + 0.46 * number, 150)
    axes = figure.add_subplot()
    shown = axes.imshow(wrong.numpy(), cmap=red, vmin=0, vmax=top)
    diagonal = torch.eye(number).numpy()
    axes.imshow(0.25 * diagonal, cmap=blue, vmin=0, vmax=1, alpha=diagonal)
    size = 10 if int(counts.max()) < 1000 else 8
    for row in range(number):
        for column in range(number):
            count = int(counts[row, column])
            dark = row != column and float(wrong[row, column]) > 0.6 * top
            axes.text(
                *(column, row, f"{count:,}" if count else "·"),
                ha="center",
                va="center",
                fontsize=size,
                color="white" if dark else "black" if count else "0.7",
            )
    classes = range(number)
    about = f"{test.error_text} of {len(test.labels):,} test images misread"
    axes.set(xlabel="predicted", ylabel="true", xticks=classes, yticks=classes)
    head = [fill(test.model, 50), test.source, about]
    axes.set_title("\n".join(head), fontsize=10)
    axes.tick_params(length=0)
    axes.spines[:].set_color("0.6")
    ticks = MaxNLocator(6, steps=[1, 2, 5, 10])
    bar = figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03, ticks=ticks)
    bar.set_label("misread images of a class (%)")
    bar.outline.set_visible(False)
    figure.savefig(path, **_TIGHT)


def misread_plot(
    test: ImageTest, images: Tensor, which: Sequence[int], path: str | os.PathLike
) -> None:
    r"""Shows misread images, with their class, the predicted one, and the probability
    that it got.

    Args:
        test (ImageTest): What the test has found.
        images (Tensor): The images :math:`(M, C, H, W)`, with values from 0 to 1.
        which (sequence of int): The test images that these are.
        path (path): The PNG file to write.
    """
    columns = min(_COLUMNS, len(which))
    rows = -(-len(which) // columns)
    figure = new_figure(max(1.15 * columns, 3.6), 1.38 * rows + 0.4, 150)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel in panels:
        panel.axis("off")
    for panel, index, image in zip(panels, which, images, strict=False):
        values = image.clamp(0, 1).permute(1, 2, 0).numpy()
        grey = {"cmap": "gray", "vmin": 0, "vmax": 1} if len(image) == 1 else {}
        panel.imshow(values, **grey)
        true, found = int(test.labels[index]), int(test.predicted[index])
        share = float(test.probabilities[index, found])
        panel.set_title(f"{true} → {found}  {share:.0%}", fontsize=9, pad=3)
    shown = "" if len(which) == test.num_wrong else f", the {len(which)} surest shown"
    title = f"{test.model} misreads {test.num_wrong:,} of {len(test.labels):,}{shown}"
    figure.suptitle(fill(title, 14 * max(columns, 3)), fontsize=10)
    figure.savefig(path, **_TIGHT)
