"""Training of classifiers of images."""

import csv
import math

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch_geometric.nn import global_mean_pool

from lieconv_pyg import ImageLieResNet
from lieconv_pyg.datasets import RotDigits
from lieconv_pyg.groups import SO2, SO3, T
from lieconv_pyg.images import ImageToPoints
from lieconv_pyg.nn.point_net import PointNet
from lieconv_pyg.training import (
    ImageDataModule,
    ImageModule,
    ImageReport,
    ImageTest,
    image_table,
    image_text,
    learning_curve,
    quiet,
)
from lieconv_pyg.training.classifier_report import in_order
from lieconv_pyg.training.image_plots import confusion_plot, misread_plot
from lieconv_pyg.training.image_report import _plain


class Linear(torch.nn.Module):
    """Somebody's own network: it knows the mean of the points, and no sizes."""

    def __init__(self, out=10):
        super().__init__()
        self.lin = torch.nn.Linear(3, out)

    def forward(self, x, pos, batch, batch_size):
        x = torch.cat([x, x.square(), x * pos.norm(dim=1, keepdim=True)], dim=1)
        return self.lin(global_mean_pool(x, batch, batch_size))


def data(**kwargs):
    sizes = dict(num_train=50, num_valid=20, num_test=30)
    return ImageDataModule(**{**sizes, **kwargs})


def lieresnet(**kwargs):
    settings = dict(hidden_channels=8, num_layers=2, total_ratio=0.3, fill=0.3)
    return ImageLieResNet(SO2(), **{**settings, **kwargs})


def trainer(**kwargs):
    settings = dict(max_epochs=1, logger=False, enable_checkpointing=False)
    settings |= dict(enable_progress_bar=False, enable_model_summary=False)
    return Trainer(**{**settings, "accelerator": "cpu", **kwargs})


@pytest.mark.parametrize("make", [lieresnet, lambda: PointNet(hidden_channels=32)])
def test_learns(make):
    seed_everything(0, verbose=False)
    part, run = data(num_train=200, num_valid=0), trainer(max_epochs=8)
    run.fit(ImageModule(make(), lr=1e-2), part)
    metrics = run.callback_metrics
    assert float(metrics["train/loss"]) < 0.92 * math.log(10)
    assert float(metrics["train/error"]) < 80 and "val/error" not in metrics
    (found,) = run.test(run.lightning_module, part, verbose=False)
    assert set(found) == {"test/loss", "test/error"}
    assert found["test/error"] * 30 / 100 == pytest.approx(
        round(found["test/error"] * 30 / 100), abs=1e-4
    )


def test_what_is_logged():
    """Means over images, whatever the batches are."""
    module = ImageModule(Linear())
    found = []
    for size in (7, 20):
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
    assert torch.allclose(probability.sum(1), torch.ones(20))


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_precision(precision):
    run = trainer(precision=precision)
    run.fit(ImageModule(lieresnet()), data())
    assert torch.isfinite(run.callback_metrics["val/loss"])


def test_parts():
    part, all_train = data(), RotDigits()
    assert [len(p) for p in part.parts] == [50, 20, 30]
    train, valid, test = part.parts
    assert train.y.equal(all_train.y[:50]) and valid.y.equal(all_train.y[-20:])
    assert test.y.equal(RotDigits(train=False).y[:30])
    assert train[3].x.equal(all_train[3].x) and train[3].pos.equal(all_train[3].pos)
    assert [len(p) for p in ImageDataModule().parts] == [1097, 200, 500]
    whole = ImageDataModule("Digits", num_valid=0)
    assert [len(p) for p in whole.parts] == [1297, 0, 500]
    assert whole.val_dataloader() == [] and not whole.has_validation
    assert part.num_classes == 10 and part.num_channels == 1
    assert part.calibration_batch().num_graphs == 8
    assert part.describe() == (
        "RotDigits (scikit-learn): 50 training, 20 validation and 30 test images of "
        "44 points, rotated"
    )


def test_upright():
    part, turned = data(upright=True), data()
    train, valid, test = part.parts
    assert not train.angle[:50].any() and not valid.angle[-20:].any()
    assert test[0].x.equal(turned.parts[2][0].x) and test.angle.any()
    assert train[0].y == turned.parts[0][0].y
    assert not train[0].x.allclose(turned.parts[0][0].x)
    assert "upright in training" in part.describe() and "upright" in part.title


def test_points():
    part = data(crop=None, spacing=0.5)
    assert part.parts[0][0].pos.equal(ImageToPoints(None, 0.5).points(8, 8))


def test_fingerprint():
    """Tells data apart, whatever part of them is taken."""
    prints = [
        part.fingerprint
        for part in (data(), data(seed=1), data(upright=True), data(crop=None))
    ]
    assert len(set(prints)) == 4
    assert data(num_train=30, batch_size=7).fingerprint == prints[0]
    assert data().state_dict()["fingerprint"] == prints[0]
    shared = data()
    shared.share(part := data())
    assert shared.parts is part.parts and shared.fingerprint == prints[0]


def test_order_follows_from_the_seed():
    orders = []
    for seed in (0, 0, 1):
        part = data()
        part.load_state_dict({"order_seed": seed})
        part.trainer = trainer()
        orders.append(torch.cat([batch.y for batch in part.train_dataloader()]))
    assert orders[0].equal(orders[1]) and not orders[0].equal(orders[2])
    assert orders[0].sort().values.equal(part.parts[0].y[:50].sort().values)


@pytest.mark.parametrize(
    "make,match",
    [
        (lambda: data(dataset="mnist"), "dataset 'mnist' does not exist.*rotmnist"),
        (lambda: data(num_train=0), "num_train must be at least 1"),
        (lambda: data(num_valid=-1), "num_valid must be at least 0"),
        (lambda: data(num_test=0), "num_test must be at least 1"),
        (lambda: data(crop=-1.0), "'crop' must be positive"),
        (lambda: data(batch_size=0), "batch_size must be at least 1"),
        (lambda: data(num_train=1290).parts, "more than the 1297 training images of d"),
        (lambda: data(num_train=None, num_valid=1297).parts, "more than the 1297"),
        (lambda: data(num_test=501).parts, "num_test 501 is more than the 500 test"),
        (lambda: data(batch_size=51).parts, "more than the 50 training images"),
        (lambda: ImageModule(Linear(), lr=0), "lr must be positive"),
    ],
)
def test_bad_arguments(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_root(tmp_path, monkeypatch):
    monkeypatch.setenv("LIECONV_ROTMNIST_ROOT", str(tmp_path / "there"))
    for root, name in ((None, "there"), (str(tmp_path / "other"), "other")):
        part = ImageDataModule("RotMNIST", root=root)
        with pytest.raises(FileNotFoundError, match=f"is not in {tmp_path / name}"):
            part.setup()


@pytest.mark.parametrize(
    "network,match",
    [
        (lambda: lieresnet(in_channels=3), "in_channels 3, .* in digits is 1: leave"),
        (lambda: lieresnet(out_channels=9), "out_channels 9, .* is 10"),
        (lambda: PointNet(out_channels=11), "out_channels 11"),
        (lambda: ImageLieResNet(SO3()), "images are in the plane, and SO3"),
    ],
)
def test_networks_that_do_not_fit_the_data(network, match):
    with pytest.raises(ValueError, match=match):
        trainer().fit(ImageModule(network()), data())


def test_a_network_of_ones_own_with_too_few_outputs():
    with pytest.raises(ValueError, match=r"gives \(20, 7\) .*\(20, 10\)"):
        trainer().fit(ImageModule(Linear(7)), data())


def made_up(labels, predicted, sure, num_train=9, **kwargs):
    """A test in which predictions have these probabilities."""
    probability = torch.zeros(len(labels), 3)
    for row, (found, share) in enumerate(zip(predicted, sure, strict=True)):
        probability[row] = (1 - share) / 2
        probability[row, found] = share
    sizes = dict(num_parameters=1234, num_train=num_train)
    return ImageTest("N", "D", torch.tensor(labels), probability, **sizes, **kwargs)


LABELS, PREDICTED = [0, 0, 1, 1, 2, 2, 2, 2], [0, 1, 1, 2, 2, 2, 2, 0]
SURE = [0.9, 0.6, 0.9, 0.5, 0.9, 0.9, 0.9, 0.8]


def test_errors(tmp_path):
    test = made_up(LABELS, PREDICTED, SURE, seconds=7.6)
    assert test.error == 37.5 and test.num_wrong == 3
    assert test.uncertainty == pytest.approx(100 * (0.375 * 0.625 / 8) ** 0.5)
    assert test.confusion().tolist() == [[1, 1, 0], [0, 1, 1], [1, 0, 3]]
    assert test.surest_errors(9) == [7, 1, 3] and test.surest_errors(2) == [7, 1]
    assert test.error_text == "37.5 ± 17.1 %"
    test.write_csv(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["index", "label", "predicted", "probability of the label"]
    assert rows[2] == ["1", "0", "1", "0.2"] and rows[3] == ["2", "1", "1", "0.9"]
    test.write_confusion(tmp_path / "b.csv")
    lines = (tmp_path / "b.csv").read_text().split()
    assert lines[-3:] == ["0,1,1,0", "1,0,1,1", "2,1,0,3"]
    none = made_up([1], [1], [0.9])
    assert none.error_text == "0.00 ± 0.00 %"
    table = image_table([test, none])
    assert table[1] == ["N", "37.5 ± 17.1 %", "3", "1,234", "8 s"]
    assert table[2][-1] == ""
    assert image_text([test]).startswith("D, 8 test images, trained on 9\n")


def test_figures(tmp_path):
    test, path = made_up(LABELS, PREDICTED, SURE), tmp_path / "a.png"
    which = test.surest_errors(9)
    for channels in (1, 3):
        misread_plot(test, torch.rand(3, channels, 8, 8), which, path)
        assert path.stat().st_size > 5000
    for each in (test, made_up([1], [1], [0.9])):
        confusion_plot(each, path)
        assert path.stat().st_size > 5000
    nan = math.nan
    for rows in ([(1, 9.0, 3.0), (2, 3.0, 0.0)], [(1, 0.0, 0.0)], [(1, 5.0, nan)]):
        learning_curve({"N": rows}, "misread images (%)", path)


def test_predictions_of_several_processes_arein_order():
    labels, probability = torch.arange(5), torch.rand(5, 3)
    taken = [4, 0, 2, 1, 0]  # one twice, where there are too few
    outputs = [
        {"label": labels[part], "probability": probability[part]}
        for part in (taken[:3], taken[3:])
    ]
    index, label, found = in_order(outputs, [*taken, 3])
    assert index.tolist() == label.tolist() == [0, 1, 2, 4]
    assert found.equal(probability[index])


def test_images_are_shown_as_they_were():
    raw = RotDigits(to_points=ImageToPoints())
    shown = _plain(RotDigits()[:5])
    torch.testing.assert_close(shown, raw.images()[:5], rtol=0, atol=1e-6)
    assert _plain(raw[:2]).equal(raw.images()[:2])


def test_report(tmp_path):
    report = ImageReport(tmp_path)
    run = trainer(callbacks=[report], max_epochs=2)
    part, module = data(num_test=27), ImageModule(Linear())
    run.fit(module, part)
    run.test(module, part, verbose=False)
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in report.files}
    assert report.test.source == "RotDigits" and report.test.model == "Linear"
    assert report.test.labels.equal(part.parts[2].y[:27])
    metrics = run.callback_metrics
    assert report.test.error == pytest.approx(float(metrics["test/error"]), rel=1e-5)
    assert [row[0] for row in report.history] == [1, 2]
    first, probability = part.parts[2][4], report.test.probabilities[4]
    one = module(first.x, first.pos, torch.zeros(44, dtype=torch.long), 1)
    torch.testing.assert_close(one[0], probability, rtol=0, atol=1e-6)


def test_point_net():
    """The same for an example alone and in a batch; other points in a batch change
    nothing."""
    torch.manual_seed(0)
    network = PointNet(2, 4, hidden_channels=8, radius=2.0).double().eval()
    batch = data().calibration_batch(3)
    pos, x = batch.pos.double(), torch.randn(132, 2, dtype=torch.double)
    out = network(x, pos, batch.batch)
    assert out.shape == (3, 4) and not out[0].allclose(out[1])
    one = slice(44, 88)
    assert network(x[one], pos[one])[0].allclose(out[1])
    moved = pos.clone()
    moved[:44] *= 1.5  # the points are no longer those of all
    assert network(x, moved, batch.batch, 3)[1:].allclose(out[1:])
    assert network(None, pos, batch.batch).shape == (3, 4)
    network.reset_parameters()
    assert not network(x, pos, batch.batch).allclose(out)
    network.train()
    turned = network(x, pos, batch.batch)
    network.augment = False
    assert not network(x, pos, batch.batch).allclose(turned)
    for wrong in (dict(hidden_channels=0), dict(ratio=2.0), dict(radius=-1.0)):
        with pytest.raises(ValueError, match=f"'{next(iter(wrong))}'"):
            PointNet(**wrong)
    with pytest.raises(ValueError, match=r"'x' has 1 channels.*'in_channels=2'"):
        network(x[:, :1], pos, batch.batch)
    with pytest.raises(ValueError, match="'batch_size' must be at least 3"):
        network(x, pos, batch.batch, 2)
    with pytest.raises(ValueError, match="example 3 has no points"):
        network(x, pos, batch.batch, 4)
    assert network.train()(x[one], pos[one]).isfinite().all()  # a batch of one


def test_images_of_other_points():
    module = ImageModule(ImageLieResNet(T(2), hidden_channels=8, num_layers=2))
    batch = data().calibration_batch()
    module.calibrate(batch.pos, batch.batch)
    module.check(data())
    with pytest.raises(ValueError, match=r"trained on 44 points, and the images have"):
        module.check(data(crop=0.9))


def test_the_grid_is_kept_whatever_group():
    """A network's state goes over to another one, also in double precision."""
    module = ImageModule(ImageLieResNet(T(2), hidden_channels=8, num_layers=2))
    part = data()
    with quiet():
        trainer(limit_train_batches=1).fit(module, part)
    state = module.state_dict()
    assert state["network.grid._extra_state"]
    other = ImageModule(ImageLieResNet(T(2), hidden_channels=8, num_layers=2))
    other.load_state_dict(state)
    batch = part.calibration_batch(4)
    given = batch.x, batch.pos, batch.batch
    expected = module.eval()(*given)
    assert other.eval()(*given).equal(expected)
    torch.testing.assert_close(
        other.double()(*given), expected.double(), rtol=0, atol=1e-5
    )
