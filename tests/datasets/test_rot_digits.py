import sys

import pytest
import torch
from torch_geometric.loader import DataLoader

from lieconv_pyg.datasets import RotDigits
from lieconv_pyg.images import ImageToPoints, rotate_images


@pytest.fixture(scope="module")
def digits():
    return pytest.importorskip("sklearn.datasets").load_digits()


def test_items(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train, test = RotDigits(), RotDigits(train=False)
    assert len(train) == 1297 and len(test) == 500 and repr(test) == "RotDigits(500)"
    item = train[5]
    assert item.x.shape == (44, 1) and item.x.dtype == torch.float32
    assert item.pos.equal(ImageToPoints().points(8, 8))
    assert item.y.shape == item.angle.shape == (1,) and item.y.dtype == torch.long
    assert train.num_classes == 10 and train.num_features == 1
    assert train.image_size == (8, 8) and train.source == "scikit-learn"
    batch = next(iter(DataLoader(train, batch_size=100, shuffle=True)))
    assert batch.pos.shape == (4400, 2) and batch.y.shape == (100,)
    assert train[:50].copy()[7].x.equal(train[7].x)
    assert not list(tmp_path.iterdir())


def test_digits_are_those_of_scikit_learn(digits):
    """Each once, in training or in testing."""
    everything = ImageToPoints(crop=None)
    parts = [RotDigits(t, rotated=False, to_points=everything) for t in (True, False)]
    images = torch.cat([part.images() for part in parts])[:, 0]
    y = torch.cat([part.y for part in parts])
    rows = torch.cat([images.flatten(1) * 16, y[:, None]], 1)
    given = torch.from_numpy(digits.data).float()
    given = torch.cat([given, torch.from_numpy(digits.target)[:, None]], 1)
    assert sorted(rows.tolist()) == sorted(given.tolist())
    assert not parts[0].angle.any()


def test_rotated_by_their_angles(digits):
    everything = ImageToPoints(crop=None)
    upright = RotDigits(rotated=False, to_points=everything)
    turned = RotDigits(to_points=everything)
    assert turned.y.equal(upright.y)
    expected = rotate_images(upright.images(), turned.angle)
    torch.testing.assert_close(turned.images(), expected)
    assert 0 <= turned.angle.min() < 0.1 and 6.2 < turned.angle.max() < 2 * torch.pi


def test_normalised(digits):
    to_points = ImageToPoints(crop=None, mean=0.305, std=0.376)
    x = RotDigits(rotated=False, to_points=to_points).images()
    assert abs(x.mean()) < 0.01 and abs(x.std() - 1) < 0.01
    assert RotDigits().to_points.mean == 0.305


def test_seeds(digits):
    first, other = RotDigits(), RotDigits(seed=1)
    assert RotDigits().angle.equal(first.angle)
    assert not first.angle.equal(other.angle) and not first.y.equal(other.y)


def test_wrong_arguments(digits):
    with pytest.raises(TypeError, match="'train' must be True or False"):
        RotDigits("test")
    with pytest.raises(TypeError, match="'to_points' must be an ImageToPoints"):
        RotDigits(to_points=3)


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'pip install "lieconv_pyg\[images\]"'):
        RotDigits()
