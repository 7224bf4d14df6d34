"""Figures of bases and metrics."""

import pytest
import torch

from lieconv_pyg.discovery import invariant_metric, plot_basis, plot_losses, plot_metric
from lieconv_pyg.discovery.plots import _matrix
from lieconv_pyg.figures import new_figure

pytest.importorskip("matplotlib")


def test_figures(tmp_path, lorentz):
    plot_basis({"true": lorentz, "one": lorentz[:1]}, tmp_path / "bases.png")
    plot_metric(invariant_metric(lorentz), tmp_path / "metric.png")
    plot_losses(
        {"generator": [3, 2, 1.7], "discriminator": [0.4, 0.6, 0.7]}, tmp_path / "l.png"
    )
    plot_losses({"loss": [-1.0]}, tmp_path / "one.png")
    for name in ("bases.png", "metric.png", "l.png", "one.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match="'bases' is empty"):
        plot_basis({}, tmp_path / "none.png")
    with pytest.raises(ValueError, match="'wrong' must have shape"):
        plot_basis({"wrong": torch.zeros(2, 2)}, tmp_path / "none.png")
    for empty in ({}, {"loss": []}):
        with pytest.raises(ValueError, match="'losses' is empty"):
            plot_losses(empty, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


@pytest.mark.parametrize("shape, numbers", [((4, 4), 16), ((3, 40), 0), ((40, 3), 0)])
def test_only_small_matrices_have_numbers(shape, numbers):
    axes = new_figure(3, 3).subplots()
    _matrix(axes, torch.zeros(shape), "a matrix")
    assert len(axes.texts) == numbers
