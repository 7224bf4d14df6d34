import csv
import dataclasses

import matplotlib.image
import pytest
import torch

from lieconv_pyg.datasets import Target
from lieconv_pyg.training import (
    Predictions,
    RunReport,
    error_table,
    learning_curve,
    parity_plot,
)
from lieconv_pyg.training.report import model_name
from lieconv_pyg.training.results import Errors


@pytest.fixture
def predictions():
    return Predictions(
        model="Model",
        target=Target("gap", "eV"),
        names=["a", "b", "c, d"],
        values=torch.tensor([1.0, 2.0, 6.0]).double(),
        predicted=torch.tensor([1.5, 2.0, 5.0]).double(),
        offset=torch.tensor([2.0, 2.0, 2.0]).double(),
        mean=3.0,
        referenced=False,
        num_parameters=12345,
        num_train=10,
        source="molecules.xyz",
        seconds=61.0,
    )


def test_errors(predictions):
    assert predictions.mae == pytest.approx(0.5)
    assert predictions.errors().rmse == pytest.approx((1.25 / 3) ** 0.5)
    assert predictions.errors().uncertainty == pytest.approx((1 / 6 / 2) ** 0.5)
    simple = predictions.simple()
    assert simple["mean of the training molecules"].mae == 2.0
    assert simple["median of the training molecules"].mae == pytest.approx(5 / 3)


def test_table(predictions):
    lines = error_table([predictions]).splitlines()
    assert lines[0] == "gap, 3 test molecules of molecules.xyz, trained on 10"
    assert "MAE (eV)" in lines[2]
    assert lines[4].split() == [
        *["Model", "0.500", "±", "0.289", "0.645"],
        *["12,345", "61", "s"],
    ]
    assert lines[5].split()[-4:] == ["2.00", "±", "0.58", "2.16"]
    assert max(map(len, lines)) < 100


@pytest.mark.parametrize(
    ("errors", "cells"),
    [
        ([0.0, 0.0], ["0.00", "±", "0.00", "0.00"]),
        ([0.25], ["0.250", "0.250"]),
        ([1e5, 3e5], ["200,000", "±", "100,000", "223,607"]),
        ([float("nan"), 1.0], ["nan", "nan"]),
        ([float("inf"), 1.0], ["inf", "inf"]),
    ],
)
def test_odd_errors(predictions, errors, cells, tmp_path):
    values = torch.zeros(len(errors)).double()
    odd = dataclasses.replace(
        predictions,
        values=values,
        offset=values,
        predicted=torch.tensor(errors).double(),
        seconds=None,
    )
    line = error_table([odd]).splitlines()[4]
    assert line.split() == ["Model", *cells, "12,345"]
    parity_plot([odd], tmp_path / "parity.png")
    assert (tmp_path / "parity.png").exists()


def test_csv(predictions, tmp_path):
    predictions.write_csv(tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["name", "target (eV)", "prediction (eV)"]
    assert rows[3] == ["c, d", "6", "5"]


def test_figures(predictions, tmp_path):
    parity_plot([predictions, predictions], tmp_path / "parity.png")
    history = [(i, 2.0 / i, 3.0 / i) for i in range(1, 6)]
    history[2] = (3, float("nan"), float("nan"))
    histories = {"Model": history, "none": [], "one": history[:1], "nan": [history[2]]}
    simple = {"m": Errors(2.0, 0.1, 3.0)}
    learning_curve(histories, predictions.target, tmp_path / "c.png", simple)
    for name in ("parity.png", "c.png"):
        image = matplotlib.image.imread(tmp_path / name)
        assert image.shape[0] > 500 and image.shape[1] > 500
        assert image[..., :3].min() < 0.3  # not an empty page


def test_history_survives_the_best_checkpoint():
    report = RunReport()
    before = {"history": [[1, 2.0, 3.0]], "seconds": 5.0}  # a run that is resumed
    report.load_state_dict(before)
    assert report.history == [(1, 2.0, 3.0)]
    report.history.append((2, 1.0, 2.0))
    report.load_state_dict({**before, "seconds": 1.0})  # the test of the best epoch
    assert len(report.history) == 2
    both = [[1, 2.0, 3.0], [2, 1.0, 2.0]]
    assert report.state_dict() == {"history": both, "seconds": 5.0}
    report.on_fit_start(None, None)
    report.on_fit_end(None, None)
    assert 5.0 <= report.seconds < 6.0


def test_model_name(network):
    assert model_name(network) == "GraphNet"
    network.group = "T(3)"
    assert model_name(network) == "GraphNet T(3)"
