"""Figures of a run, as PNG files. Needs no display."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from lieconv_pyg.datasets import Target
from lieconv_pyg.training.results import Predictions

_COLOURS = ("#1f5fa8", "#d9822b", "#3a8f5c", "#8a4fa0")
_GREYS = ("0.45", "0.7")
_STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "legend.frameon": False,
}


def _axes() -> tuple[Any, Any]:
    """A figure on the Agg canvas, whatever backend is in use elsewhere."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 4.6), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _or_infinite(value: float) -> float:
    return math.inf if math.isnan(value) else value


def parity_plot(results: Sequence[Predictions], path: str | os.PathLike) -> None:
    r"""Plots predictions over true values of the test molecules.

    Args:
        results (sequence of Predictions): One a model, for the same target.
        path (path): The PNG file to write.
    """
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes()
        values = [r.values for r in results] + [r.predicted for r in results]
        low = min(float(v.min()) for v in values)
        high = max(float(v.max()) for v in values)
        margin = 0.04 * (high - low or 1.0)
        span = (low - margin, high + margin)
        axes.plot(span, span, color="0.6", linewidth=1, zorder=1)
        few = len(results[0].values) < 300
        for r, colour in zip(results, _COLOURS, strict=False):
            axes.scatter(
                r.values,
                r.predicted,
                s=22 if few else 7,
                alpha=0.8 if few else 0.4,
                color=colour,
                linewidths=0,
                label=f"{r.model}: MAE {r.mae:.3g} {r.target.unit}",
                zorder=2,
            )
        target = results[0].target
        axes.set(
            xlim=span,
            ylim=span,
            aspect="equal",
            xlabel=f"true {target.label}",
            ylabel=f"predicted {target.label}",
        )
        title = results[0].title
        figure.legend(loc="outside upper center", fontsize=9, title=title)
        figure.savefig(path)


def learning_curve(
    histories: Mapping[str, Sequence[tuple[float, float, float]]],
    target: Target,
    path: str | os.PathLike,
    simple: Mapping[str, float] | None = None,
) -> None:
    r"""Plots training and validation error over the epochs, with a dot where the
    validation error is smallest: the epoch whose checkpoint is tested.

    Args:
        histories (mapping): For each model its rows (epoch, training MAE,
            validation MAE), in the target's unit.
        target (Target): What was predicted.
        path (path): The PNG file to write.
        simple (mapping, optional): Test MAE of simple predictors by name, a dashed
            line each.
    """
    import matplotlib
    from matplotlib.ticker import LogLocator, NullFormatter

    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes()
        for (model, rows), colour in zip(histories.items(), _COLOURS, strict=False):
            epochs, training, validation = zip(*rows, strict=True)
            axes.plot(epochs, training, color=colour, linewidth=1, ls=":")
            axes.plot(epochs, validation, color=colour, linewidth=1.6, label=model)
            best = min(range(len(rows)), key=lambda i: _or_infinite(validation[i]))
            axes.plot(epochs[best], validation[best], "o", color=colour, markersize=5)
        axes.plot([], [], color="0.4", linewidth=1, ls=":", label="training (dotted)")
        for (name, error), grey in zip((simple or {}).items(), _GREYS, strict=False):
            label = f"{name} (test)"
            axes.axhline(error, color=grey, linewidth=1, ls="--", label=label)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda value, position: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        unit = f" ({target.unit})" if target.unit else ""
        axes.set(xlabel="epoch", ylabel=f"mean absolute error of {target.name}{unit}")
        figure.legend(loc="outside upper center", ncols=2, fontsize=9)
        figure.savefig(path)
