import numpy as np
import pytest
import torch

from lieconv_pyg.discovery import Representation, SymmetryPairs, read_pairs
from lieconv_pyg.groups import SO3


def test_how_pairs_move():
    x, g = torch.randn(5, 2, 3), SO3().sample(5)
    r = Representation(3, 2, "vectors", 1)
    gx, gy = r.act(g, x, x[:, :1])
    torch.testing.assert_close(gx, torch.einsum("bij,bkj->bki", g, x))
    torch.testing.assert_close(gy, gx[:, :1])
    for y, kind in ((torch.ones(5, 2), "scalars"), (torch.arange(5), "labels")):
        assert Representation(3, 2, kind, 2).act(g, x, y)[1] is y


def test_shapes_follow_from_the_data():
    x = torch.randn(10, 4)
    pairs = SymmetryPairs(x, x[:, :4], mask=torch.eye(4), name="mine")
    assert pairs.representation == Representation(
        4, 1, "vectors", 1, torch.eye(4).tolist()
    )
    assert len(pairs) == 10 and pairs[3][0].shape == (1, 4)
    assert (
        pairs.points().shape == (20, 4) and repr(pairs) == "SymmetryPairs('mine', 10)"
    )
    scalars = SymmetryPairs(x.view(5, 2, 4), torch.randn(5), "scalars")
    assert scalars.representation == Representation(4, 2, "scalars", 1)
    assert scalars.y.shape == (5, 1) and scalars.points().shape == (10, 4)
    labels = SymmetryPairs(x, torch.arange(10) % 3, "labels")
    assert labels.representation == Representation(4, 1, "labels", 3)


def test_pairs_from_a_file(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(9, 3)), np.arange(9, dtype=np.uint8)
    turn = SO3().generators().numpy()
    np.savez(tmp_path / "mine.npz", x=x, y=y, mask=np.tri(3), true_basis=turn)
    pairs = read_pairs(tmp_path / "mine.npz", "labels")
    mask = torch.ones(3, 3).tril().tolist()
    assert pairs.representation == Representation(3, 1, "labels", 9, mask)
    assert np.array_equal(pairs.x[:, 0], x) and np.array_equal(pairs.y, y)
    assert np.array_equal(pairs.true_basis, turn) and pairs.name == "mine"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((3, 2))}, "no pairs of arrays x and y: 'y'"),
        ({"x": np.ones((3, 2)), "y": np.array(["a", "b", "c"])}, "no pairs of arrays"),
        ({"x": np.ones((3, 2)), "y": np.ones((4, 2))}, "bad.npz: 'x' has 3 rows"),
        ({"x": np.arange(4), "y": np.ones((4, 2))}, "bad.npz: 'x' must be a floating"),
    ],
    ids=["no y", "text", "rows", "whole numbers"],
)
def test_wrong_files(arrays, message, tmp_path):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read_pairs(tmp_path / "bad.npz")
    with pytest.raises(FileNotFoundError):
        read_pairs(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("x, y")
    with pytest.raises(ValueError, match="no pairs of arrays x and y"):
        read_pairs(tmp_path / "text.npz")


X = torch.randn(6, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X, X[:, 0]), ValueError, "for numbers give y_type 'scalars'"),
        ((X, X, "tensors"), ValueError, "'y_type' must be one of vectors, scalars"),
        ((X.long(), X), TypeError, "'x' must be a floating-point tensor"),
        ((X, X[:4]), ValueError, "'x' has 6 rows, 'y' has 4"),
        ((X, X[:, :2]), ValueError, "'x' has vectors of 3 entries, 'y' of 2"),
        ((X[0], X), ValueError, "'x' must have 3 dimensions"),
        ((X[:0], X[:0]), ValueError, "'x' must have 3 dimensions and entries"),
        ((X / 0, X), ValueError, "'x' has infinite or NaN entries"),
        ((X, X, "labels"), TypeError, "labels 'y' must be a tensor of torch.long"),
        ((X, X.long(), "labels"), ValueError, r"labels 'y' must have shape \(N,\)"),
        (
            (X, -torch.ones(6).long(), "labels"),
            ValueError,
            "must be at least 0, got -1",
        ),
        (
            (X, torch.ones(6).long(), "scalars"),
            TypeError,
            "'y' must be a floating-point",
        ),
        (
            (X, X, "vectors", torch.eye(2)),
            ValueError,
            r"'mask' must have shape \(3, 3\)",
        ),
        ((X, X, "vectors", torch.zeros(3, 3)), ValueError, "entries other than 0"),
        ((X, X, "vectors", None, torch.eye(2)), ValueError, "'true_basis' must have"),
    ],
    ids=range(15),
)
def test_bad_data(arguments, error, message):
    with pytest.raises(error, match=message):
        SymmetryPairs(*arguments)


def test_bad_representations():
    with pytest.raises(ValueError, match="'size' must be at least 1"):
        Representation()
    with pytest.raises(TypeError, match="'x_vectors' must be an integer"):
        Representation(2, 1.5)
