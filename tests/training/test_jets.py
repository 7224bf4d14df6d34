"""Training of classifiers of jets."""

import csv
import itertools
import math

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from sklearn.metrics import roc_auc_score
from torch_geometric.nn import global_add_pool

from lieconv_pyg.datasets import ToyJets
from lieconv_pyg.groups import SO3
from lieconv_pyg.nn import JetLieResNet, LorentzNet
from lieconv_pyg.training import (
    JetDataModule,
    JetModule,
    JetReport,
    JetTest,
    background_efficiency,
    background_rejection,
    jet_table,
    jet_text,
    roc_auc,
    roc_curve,
    roc_plot,
)
from tests.datasets.test_top_tagging import npz


class Masses(torch.nn.Module):
    """Somebody's own network: it knows the mass of each jet."""

    def __init__(self, out=2):
        super().__init__()
        self.lin = torch.nn.Sequential(
            torch.nn.Linear(1, 16), torch.nn.Tanh(), torch.nn.Linear(16, out)
        )

    def forward(self, pos, batch, batch_size):
        total = global_add_pool(pos, batch, batch_size)
        mass = (total[:, 0] ** 2 - total[:, 1:].square().sum(1)).clamp(min=0).sqrt()
        return self.lin(mass[:, None].to(self.lin[0].weight.dtype) / 20 - 8)


def data(**kwargs):
    sizes = dict(num_train=64, num_valid=30, num_test=40, max_constituents=12)
    return JetDataModule(**{**sizes, **kwargs})


def trainer(**kwargs):
    settings = dict(max_epochs=1, logger=False, enable_checkpointing=False)
    settings |= dict(enable_progress_bar=False, enable_model_summary=False)
    return Trainer(**{**settings, "accelerator": "cpu", **kwargs})


def tiny(**settings):
    return JetLieResNet(SO3(), hidden_channels=8, num_layers=2, **settings)


def lorentz(**settings):
    return LorentzNet(**{"hidden_channels": 8, "num_layers": 2} | settings)


def test_learns():
    """A network that sees the mass tells most jets apart."""
    seed_everything(0, verbose=False)
    part = data(num_train=1000, num_valid=250, max_constituents=None)
    run = trainer(max_epochs=8)
    run.fit(JetModule(Masses(), lr=3e-2), part)
    assert float(run.callback_metrics["val/error"]) < 12


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-mixed"])
@pytest.mark.parametrize("make", [tiny, lorentz])
def test_networks_train(make, precision):
    run = trainer(precision=precision)
    module = JetModule(make())
    before = [p.detach().clone() for p in module.parameters()]
    part = data()
    run.fit(module, part)
    assert torch.isfinite(run.callback_metrics["val/loss"])
    pairs = zip(before, module.parameters(), strict=True)
    assert all(not torch.equal(a.double(), b.detach().double()) for a, b in pairs)


def test_what_is_logged():
    """Means over jets, whatever the batches are."""
    module = JetModule(Masses())
    found = []
    for size in (7, 30):
        part = data(batch_size=size)
        run = trainer(inference_mode=False)
        (validated,) = run.validate(module, part, verbose=False)
        found += [(validated["val/loss"], validated["val/error"])]
        batches = run.predict(module, part.val_dataloader())
    probability, label = torch.cat(batches), part.parts[1].y
    loss = torch.nn.functional.nll_loss(probability.log(), label)
    error = 100 * (probability.argmax(1) != label).double().mean()
    for pair in found:
        assert pair == pytest.approx((float(loss), float(error)), rel=1e-5)


def test_parts(tmp_path):
    part = data()
    assert [len(p) for p in part.parts] == [64, 30, 40]
    for jets, split in zip(part.parts, ("train", "val", "test"), strict=True):
        assert jets[5].pos.equal(ToyJets(split, 6, max_constituents=12)[5].pos)
    assert part.num_classes == 2 and part.title == "ToyJets"
    assert part.describe() == (
        "ToyJets: 64 training, 30 validation and 40 test jets of 12 to 12 constituents"
    )
    files = JetDataModule("top_tagging", root=str(npz(tmp_path / "a.npz")), num_train=7)
    files.batch_size = 3
    assert [len(p) for p in files.parts] == [7, 8, 7]
    assert files.title == "TopTagging" and "jets of 1 to 6" in files.describe()


def test_fingerprint():
    """Tells data apart, whatever part of them is taken."""
    several = data(), data(seed=1), data(unit=2.0), data(resolution=0.1)
    prints = [part.fingerprint for part in (*several, data(max_constituents=5))]
    assert len(set(prints)) == 5
    assert data(num_train=40, num_test=7).fingerprint == prints[0]
    shared = data()
    shared.share(part := data())
    assert shared.parts is part.parts


@pytest.mark.parametrize(
    "make,match",
    [
        (lambda p: data(dataset="qcd"), "dataset 'qcd' does not exist.*top_tagging"),
        (lambda p: data(num_train=0), "num_train must be at least 1"),
        (lambda p: data(num_valid=0), "num_valid must be at least 1"),
        (lambda p: data(max_constituents=0), "max_constituents must be at least 1"),
        (lambda p: data(batch_size=65).parts, "more than the 64 training jets"),
        (lambda p: data(unit=-1.0).parts, "'unit' must be a positive number"),
        (lambda p: data(root="a"), "root does not go with dataset 'toy'"),
        (
            lambda p: data(dataset="top_tagging", root=str(npz(p / "a.npz"))).parts,
            "num_train 64 is more than the 9 jets in train of top_tagging",
        ),
        (lambda p: JetModule(Masses(), lr=0), "lr must be positive"),
    ],
)
def test_bad_arguments(make, match, tmp_path):
    with pytest.raises(ValueError, match=match):
        make(tmp_path)


def test_root(tmp_path, monkeypatch):
    monkeypatch.setenv("LIECONV_TOP_TAGGING_ROOT", str(tmp_path / "there"))
    for root, name in ((None, "there"), (str(tmp_path / "other"), "other")):
        part = JetDataModule("Top_Tagging", root=root)
        with pytest.raises(FileNotFoundError, match=f"not at {tmp_path / name}"):
            part.setup()


def test_networks_that_do_not_fit_the_data():
    with pytest.raises(ValueError, match="built for out_channels 3, and jets are of 2"):
        trainer().fit(JetModule(tiny(out_channels=3)), data())
    with pytest.raises(ValueError, match=r"gives \(30, 3\) .*\(30, 2\)"):
        trainer().fit(JetModule(Masses(3)), data())


def scores(seed=0, number=200, grid=None):
    """Labels, and scores of which some are equal."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, number)
    found = rng.normal(size=number) + labels
    if grid:
        found = np.round(found * grid) / grid
    return torch.from_numpy(labels), torch.from_numpy(found)


@pytest.mark.parametrize("grid", [None, 5, 1])
def test_auc(grid):
    """Of all pairs, those that are in order, equal ones half."""
    labels, found = scores(grid=grid)
    signal, background = found[labels == 1], found[labels == 0]
    pairs = signal[:, None] - background
    share = ((pairs > 0).double() + 0.5 * (pairs == 0).double()).mean()
    assert roc_auc(labels, found) == pytest.approx(float(share), abs=1e-12)
    assert roc_auc(labels, found) == pytest.approx(roc_auc_score(labels, found))
    assert roc_auc(labels, -found) == pytest.approx(1 - float(share))


@pytest.mark.parametrize("grid", [None, 5, 1])
def test_curve(grid):
    labels, found = scores(grid=grid)
    signal, background = roc_curve(labels, found)
    cuts = sorted(set(found.tolist()), reverse=True)
    assert len(signal) == len(cuts) + 1 and signal[0] == background[0] == 0
    for number, cut in enumerate(cuts, 1):
        passed = found >= cut
        assert signal[number] == passed[labels == 1].double().mean()
        assert background[number] == passed[labels == 0].double().mean()


@pytest.mark.parametrize("grid", [None, 5, 1])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.77, 1.0])
def test_rejection(grid, share):
    labels, found = scores(grid=grid)
    cuts = sorted(set(found.tolist()), reverse=True)
    points = [(0.0, 0.0)]
    for cut in cuts:
        passed = (found >= cut).double()
        points.append((passed[labels == 1].mean(), passed[labels == 0].mean()))
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x1 >= share - 1e-12:
            wanted = y0 + min(1.0, (share - x0) / (x1 - x0)) * (y1 - y0)
            break
    assert background_efficiency(labels, found, share) == pytest.approx(float(wanted))
    rejection = background_rejection(labels, found, share)
    assert rejection == pytest.approx(math.inf if wanted == 0 else 1 / float(wanted))


def test_rejection_by_hand():
    labels = torch.tensor([1, 0, 1, 1, 0, 1, 0, 0])
    found = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    shares = [background_efficiency(labels, found, s) for s in (0.25, 0.5, 0.75, 1.0)]
    assert shares == [0, 0.25, 0.25, 0.5]
    assert background_efficiency(labels, found, 0.375) == 0.25
    assert background_rejection(labels, found, 0.2) == math.inf
    half = torch.full((8,), 0.5)
    assert background_efficiency(labels, half, 0.3) == pytest.approx(0.3)
    assert roc_auc(labels, half) == 0.5
    one = torch.ones(8, dtype=torch.long)
    assert math.isnan(roc_auc(one, found))
    assert math.isnan(background_rejection(one, found, 0.5))


@pytest.mark.parametrize(
    "labels,found,share,match",
    [
        ([0, 2], [0.1, 0.2], 0.5, "'labels' must be 0 or 1"),
        ([0, 1], [0.1], 0.5, r"got \(2,\) and \(1,\)"),
        ([0, 1], [0.1, math.nan], 0.5, "'scores' has 1 NaN"),
        ([0, 1], [0.1, 0.2], 0.0, r"'signal' must be in \(0, 1\]"),
        ([0, 1], [0.1, 0.2], 1.1, r"'signal' must be in \(0, 1\]"),
    ],
)
def test_bad_scores(labels, found, share, match):
    with pytest.raises(ValueError, match=match):
        background_efficiency(torch.tensor(labels), torch.tensor(found), share)


def made_up(**kwargs):
    labels, found = scores(number=400)
    sizes = dict(num_parameters=1234, num_train=9)
    return JetTest("N", "D", labels, found.sigmoid(), **sizes, **kwargs)


def test_results(tmp_path):
    test = made_up(seconds=7.6)
    right = ((test.scores > 0.5).long() == test.labels).double().mean()
    assert test.accuracy == pytest.approx(100 * float(right))
    spread = 100 * (right * (1 - right) / 400) ** 0.5
    assert test.uncertainty == pytest.approx(float(spread))
    share = background_efficiency(test.labels, test.scores, 0.5)
    number = int((test.labels == 0).sum())
    error = ((1 - share) / (number * share)) ** 0.5 / share
    assert test.rejection_text(0.5) == f"{1 / share:.3g} ± {error:.3g}"
    assert test.rejection(0.5) == 1 / share
    best = JetTest("B", "D", test.labels, test.labels.double(), 1, 9)
    assert best.rejection_text(0.3) == f"> {number}" and best.auc == 1
    assert best.rejection(0.3) == math.inf
    none = JetTest("B", "D", torch.ones(3).long(), torch.rand(3), 1, 9)
    assert none.rejection_text(0.3) == "–"
    table = jet_table([test, best, none])
    assert table[0][3:5] == ["1/ε_B at 50%", "1/ε_B at 30%"]
    assert table[1][0] == "N" and table[1][-2:] == ["1,234", "8 s"]
    assert jet_text([test]).startswith("D, 400 test jets, trained on 9\n")
    test.write_csv(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["index", "label", "probability of signal"] and len(rows) == 401
    assert float(rows[7][2]) == pytest.approx(float(test.scores[6]), rel=1e-5)
    test.write_roc(tmp_path / "b.csv")
    rows = (tmp_path / "b.csv").read_text().split()
    assert rows[-1] == "1,1" and len(rows) == 1 + 2 + 401
    for results in ([test, best], [none]):
        roc_plot(results, tmp_path / "a.png")
        assert (tmp_path / "a.png").stat().st_size > 5000


def test_report(tmp_path):
    report = JetReport(tmp_path)
    run = trainer(callbacks=[report], max_epochs=2)
    part, module = data(), JetModule(Masses())
    run.fit(module, part)
    run.test(module, part, verbose=False)
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in report.files}
    test = report.test
    assert test.source == "ToyJets" and test.model == "Masses"
    assert test.labels.equal(part.parts[2].y)
    error = float(run.callback_metrics["test/error"])
    assert 100 - test.accuracy == pytest.approx(error, rel=1e-5)
    first = part.parts[2][4]
    one = module(first.pos, torch.zeros(len(first.pos), dtype=torch.long), 1)
    torch.testing.assert_close(one[0, 1], test.scores[4], rtol=0, atol=1e-6)
