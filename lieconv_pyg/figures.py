"""What figures have in common. They need no display."""

from __future__ import annotations

from typing import Any

#: Of lines and points.
COLOURS = ("#1f5fa8", "#d9822b", "#3a8f5c", "#8a4fa0", "#b8383b", "#5b5b5b", "#c79a00")


def new_figure(width: float, height: float, dpi: int = 120) -> Any:
    """A figure on the Agg canvas, whatever backend is in use elsewhere."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=dpi)
    FigureCanvasAgg(figure)
    return figure
