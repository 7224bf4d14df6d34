"""Ways to treat massless momenta, invariant under Lorentz transformations."""

from fractions import Fraction

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.testing import assert_close

from lieconv_pyg import LieResNet
from lieconv_pyg.groups import SO3, Lorentz
from lieconv_pyg.groups.minkowski import mass_square, minkowski_product
from lieconv_pyg.lifting import jet_frame, massive_surrogate, momentum_products
from tests.clouds import generator, ragged_batch
from tests.nn.test_vectors import prepare

GROUP = Lorentz()
SIZES = (5, 2, 9)


def jets(sizes=SIZES, seed=0, spread=1.0) -> Tensor:
    """Massless particles; with a small spread, in narrow cones."""
    num = sum(sizes)
    vector = torch.randn(num, 3, generator=generator(seed), dtype=torch.float64)
    if spread < 1:
        vector = torch.eye(3, dtype=torch.float64)[0] + spread * vector
    return torch.cat([vector.norm(dim=1, keepdim=True), vector], dim=1)


def transformations(num=4, scale=0.7):
    g = GROUP.sample(num, 1, generator=generator(9), scale=scale, dtype=torch.float64)
    return list(g)


def gram(pos: Tensor) -> Tensor:
    return minkowski_product(pos[:, None], pos)


def test_jet_frame_is_invariant_up_to_one_rotation():
    pos, batch = jets(), ragged_batch(*SIZES)
    rest = jet_frame(pos, batch)
    for g in transformations():
        moved = jet_frame(GROUP.act(g, pos), batch)
        assert_close(moved[:, 0], rest[:, 0], rtol=1e-12, atol=0)
        for jet in range(3):
            one, two = (x[batch == jet, 1:] for x in (rest, moved))
            assert_close(two @ two.T, one @ one.T, rtol=1e-12, atol=1e-12)
            volume = [torch.linalg.det(x[:3]) for x in (one, two) if len(x) > 2]
            assert_close(volume[:1], volume[1:], rtol=1e-10, atol=1e-12)
        assert (moved - rest).abs().max() > 0.1  # a rotation there is


def test_jet_frame_is_one_of_total_rest():
    pos, batch = jets(), ragged_batch(*SIZES)
    rest = jet_frame(pos, batch)
    total = torch.zeros(3, 4, dtype=pos.dtype).index_add(0, batch, rest)
    mass = torch.zeros_like(total).index_add(0, batch, pos)
    expected = torch.zeros_like(total)
    expected[:, 0] = mass_square(mass).sqrt()
    assert_close(total, expected, rtol=0, atol=1e-13)
    for jet in range(3):
        mine = batch == jet
        assert_close(gram(rest[mine]), gram(pos[mine]), rtol=1e-12, atol=1e-13)
        # By the bare boost, for which the directions are no further turned.
        boost = GROUP.section(mass[jet])[0]
        expected = GROUP.act(GROUP.inverse(boost), pos[mine])
        assert_close(rest[mine], expected, rtol=0, atol=1e-12)
    assert_close(jet_frame(rest, batch), rest, rtol=0, atol=1e-13)


def test_narrow_jets():
    pos = 500 * jets((40,), spread=0.05)
    rest = jet_frame(pos)
    size = rest[:, 0].abs()
    assert mass_square(rest).abs().div(size.square()).max() < 1e-10
    single = jet_frame(pos.float())  # its masses are noise, its frame is not
    assert single.dtype == torch.float32
    assert ((single - rest).abs().amax(1) / size).max() < 2e-3


def test_surrogates_commute_with_transformations():
    pos, batch = jets(), ragged_batch(*SIZES)
    for eps in (0.01, 0.05, 1.0):
        q = massive_surrogate(pos, batch, eps)
        for g in transformations():
            moved = massive_surrogate(GROUP.act(g, pos), batch, eps)
            expected = GROUP.act(g, q)
            assert_close(moved, expected, rtol=1e-12, atol=1e-12)
            assert_close(mass_square(moved), mass_square(q), rtol=1e-11, atol=0)
        GROUP.check_points(q)
        energy = jet_frame(pos, batch)[:, 0]
        total = torch.zeros(3, 4, dtype=q.dtype).index_add(0, batch, pos)[batch]
        mass = mass_square(total).sqrt()
        expected = 2 * eps * energy * mass + (eps * mass) ** 2
        assert_close(mass_square(q), expected, rtol=1e-11, atol=0)


def test_products_of_collinear_momenta():
    for spread in (1e-2, 1e-5, 1e-8):
        pos = 300 * jets((6,), spread=spread)
        pairs = torch.combinations(torch.arange(6)).T
        exact = []
        for i, j in pairs.T.tolist():
            (_, *p), (_, *k) = ([Fraction(x) for x in pos[n].tolist()] for n in (i, j))
            square = sum(x * x for x in p) * sum(y * y for y in k)
            dot = sum(x * y for x, y in zip(p, k, strict=True))
            # |p| |k| - p.k = (|p|^2 |k|^2 - (p.k)^2) / (|p| |k| + p.k)
            exact.append(float(square - dot**2) / (float(square) ** 0.5 + float(dot)))
        expected = torch.tensor(exact, dtype=torch.float64)
        found = momentum_products(pos, pairs, 0.0)
        assert_close(found, expected, rtol=1e-14, atol=0)
        # What the energies say has their rounding.
        found = momentum_products(pos, pairs)
        assert_close(found, expected, rtol=0, atol=3e-16 * 2 * 9e4 * 1.5)


def test_products_with_masses_and_in_all_directions():
    pos = jets((12,), seed=4)
    mass = torch.rand(12, generator=generator(5)).double()
    pos[:, 0] = (pos[:, 0].square() + mass.square()).sqrt()
    pos[3, 1:], pos[4, 1:] = 0.0, -pos[5, 1:]  # at rest, and opposite
    pos[:, 0] = (mass.square() + pos[:, 1:].square().sum(1)).sqrt()
    pairs = torch.cartesian_prod(torch.arange(12), torch.arange(12)).T
    expected = gram(pos).flatten()
    assert_close(momentum_products(pos, pairs), expected, rtol=1e-15, atol=0)
    assert_close(momentum_products(pos, pairs, mass), expected, rtol=1e-14, atol=1e-15)
    single = momentum_products(pos.float(), pairs, mass.float())
    assert single.dtype == torch.float32
    assert_close(single.double(), expected, rtol=1e-6, atol=1e-6)
    for g in transformations():
        moved = momentum_products(GROUP.act(g, pos), pairs)
        assert_close(moved, expected, rtol=1e-12, atol=1e-12)


def test_batched_is_single_and_jets_may_be_missing():
    pos = jets()
    gaps = torch.tensor([1] * 5 + [4] * 2 + [5] * 9)
    for function in (jet_frame, massive_surrogate):
        out = function(pos, gaps)
        for jet in (1, 4, 5):
            mine = gaps == jet
            assert_close(out[mine], function(pos[mine]), rtol=1e-15, atol=1e-15)
        order = torch.randperm(9, generator=generator())
        last = pos[gaps == 5]
        shuffled = function(last[order])
        assert_close(shuffled, function(last)[order], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("function", [jet_frame, massive_surrogate])
def test_padding_remains_padding(function):
    pos, batch = jets(), ragged_batch(*SIZES)
    padded = torch.zeros(4 * 12, 4, dtype=pos.dtype)
    rows = torch.cat([12 * n + torch.arange(size) for n, size in enumerate(SIZES)])
    padded[rows] = pos  # the fourth jet is empty
    out = function(padded.requires_grad_(), ragged_batch(12, 12, 12, 12))
    assert_close(out[rows], function(pos, batch), rtol=1e-15, atol=1e-15)
    rest = torch.ones(48, dtype=torch.bool)
    rest[rows] = False
    assert not out[rest].any()
    (gradient,) = torch.autograd.grad(out.square().sum(), padded)
    assert bool(gradient.isfinite().all())


def test_derivatives():
    pos, batch = jets((3, 2), seed=2).requires_grad_(), ragged_batch(3, 2)
    pairs = torch.tensor([[0, 1, 3, 2], [1, 2, 4, 2]])
    assert gradcheck(lambda x: jet_frame(x, batch), (pos,))
    assert gradcheck(lambda x: massive_surrogate(x + 0, batch, 0.1), (_up(pos),))
    assert gradcheck(lambda x: momentum_products(x, pairs), (pos,))
    away = pairs[:, :3]
    assert gradcheck(lambda x: momentum_products(x, away, 0.3), (pos,))
    product = momentum_products(pos, pairs, 0.0)  # with itself, and with no momentum
    (gradient,) = torch.autograd.grad(product.sum(), pos)
    assert bool(gradient.isfinite().all())
    still = torch.zeros(2, 4, dtype=pos.dtype, requires_grad=True)
    product = momentum_products(still, torch.tensor([[0, 0], [0, 1]]), 0.0)
    (gradient,) = torch.autograd.grad(product.sum(), still)
    assert not product.any() and bool(gradient.isfinite().all())


def _up(pos):
    """Inside the light cone, where differences may go anywhere."""
    up = torch.tensor([0.1, 0.0, 0.0, 0.0], dtype=pos.dtype)
    return (pos.detach() + up).requires_grad_()


def test_bad_momenta():
    pos, batch = jets(), ragged_batch(*SIZES)
    alone = torch.cat([pos, pos[:1]]), torch.cat([batch, batch[-1:] + 1])
    same = torch.cat([pos[:1], 2 * pos[:1]])
    for bad in (alone, (same,), (pos * torch.tensor([0.1, 1, 1, 1]),), (-pos,)):
        with pytest.raises(
            ValueError, match=r"1 of \d jets have a momentum that is no"
        ):
            jet_frame(*bad)
    with pytest.raises(ValueError, match="the first is number 3 of 'batch'"):
        massive_surrogate(*alone)
    spacelike = pos * torch.tensor([0.9, 1, 1, 1])
    for bad in (spacelike, -pos):
        with pytest.raises(ValueError, match=r"has 16 momenta .* no particle has"):
            massive_surrogate(bad, batch)
    for eps in (0, -0.1, float("nan"), "0.1"):
        with pytest.raises((ValueError, TypeError), match="'eps' must be"):
            massive_surrogate(pos, batch, eps)
    broken = pos.clone()
    broken[3, 2] = torch.nan
    for function in (jet_frame, massive_surrogate):
        with pytest.raises(ValueError, match="NaN or infinite"):
            function(broken)
        with pytest.raises(ValueError, match=r"must have shape \(N, 4\), momenta"):
            function(pos[:, 1:])
        with pytest.raises(ValueError, match="non-decreasing"):
            function(pos, batch.flip(0))
        with pytest.raises(TypeError, match=r"'pos' must be a torch\.Tensor"):
            function(pos.tolist())
    pairs = torch.tensor([[0], [1]])
    with pytest.raises(TypeError, match="'edge_index' must be a tensor of dtype"):
        momentum_products(pos, pairs.float())
    with pytest.raises(ValueError, match=r"'edge_index' must have shape \(2, E\)"):
        momentum_products(pos, pairs[0])
    with pytest.raises(ValueError, match=r"'mass' must be a number or have shape"):
        momentum_products(pos, pairs, torch.zeros(3))
    for mass in (-1.0, torch.nan):
        with pytest.raises(ValueError, match="'mass' must be at least 0 and finite"):
            momentum_products(pos, pairs, mass)


def test_networks_on_massless_jets_are_invariant():
    pos, batch = jets(), ragged_batch(*SIZES)
    torch.manual_seed(0)
    settings = dict(hidden_channels=16, num_layers=2, lift="frames")
    rotations = prepare(LieResNet(1, 2, SO3(), **settings))
    whole = prepare(LieResNet(1, 2, GROUP, **settings))

    def outputs(pos):
        rest, ones = jet_frame(pos, batch), torch.ones_like(pos[:, :1])
        one = rotations(rest[:, :1], rest[:, 1:], batch)
        return one, whole(ones, massive_surrogate(pos, batch), batch)

    before = outputs(pos)
    for x in before:  # which does depend on the momenta
        assert (x[0] - x[2]).abs().max() > 1e-2 * x.abs().max()
    moved = [GROUP.act(g, pos) for g in transformations()]
    for pos in moved:
        for x, y in zip(before, outputs(pos), strict=True):
            assert ((x - y).abs() / x.abs().max()).max() < 1e-10
    # A mass that is the same in each frame makes it another momentum in each.
    heavy = [torch.cat([(p[:, :1] ** 2 + 0.1).sqrt(), p[:, 1:]], dim=1) for p in moved]
    ones = torch.ones_like(pos[:, :1])
    one, two = (whole(ones, p, batch) for p in heavy[:2])
    assert (one - two).abs().max() > 1e-4 * one.abs().max()
