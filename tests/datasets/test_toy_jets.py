import itertools

import pytest
import torch
from scipy.stats import kstest
from torch_geometric.loader import DataLoader

from lieconv_pyg.datasets import LorentzToy, ToyJets, lorentz_target, toy_jets
from lieconv_pyg.datasets.jets import mass
from lieconv_pyg.datasets.toy_jets import _facing, _split
from lieconv_pyg.groups.minkowski import to_rest_frame
from tests.nn.jets import boost


@pytest.fixture(scope="module")
def made():
    return toy_jets(4000, seed=3)


def test_shapes(made):
    assert made.pos.shape == (4000, 50, 4) and made.pos.dtype == torch.float64
    assert made.counts.min() == 20 and made.counts.max() == 50
    there = torch.arange(50) < made.counts[:, None]
    assert torch.equal(made.pos.any(-1), there)
    hard = made.pos[..., 1:3].norm(dim=-1)
    assert (hard.diff(dim=1) <= 0).all()
    assert 0.45 < made.y.double().mean() < 0.55
    assert not made.origin[made.y == 0].any()
    again = toy_jets(4000, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(made, again, strict=True))


def test_momenta(made):
    """Massless constituents; top quarks and their W bosons have their masses."""
    energy = made.pos[..., 0]
    torch.testing.assert_close(energy, made.pos[..., 1:].norm(dim=-1))
    total = made.pos.sum(1)
    across = total[:, 1:3].norm(dim=1)
    assert across.min() > 550 and across.max() < 650
    top = made.y == 1
    assert (mass(total[top]) - 173).abs().max() < 1e-9
    of_w = (made.pos * made.origin[..., None]).sum(1)[top]
    assert (mass(of_w) - 80.4).abs().max() < 1e-9
    b = mass(total[top] - of_w)
    assert b.min() > 5 - 1e-9 and b.max() < 30 + 1e-9
    other = mass(total[~top])
    assert other.min() > 10 and other.max() < 0.5 * 0.8 * 650 and other.std() > 30


def test_decays_are_isotropic(made):
    """Directions of the W boson in the rest frame of the top quark."""
    top = made.y == 1
    total = made.pos.sum(1)[top]
    of_w = (made.pos * made.origin[..., None]).sum(1)[top]
    n = to_rest_frame(of_w, total)[:, 1:]
    n = n / n.norm(dim=1, keepdim=True)
    flight = total[:, 1:] / total[:, 1:].norm(dim=1, keepdim=True)
    for axis in (flight, torch.eye(3).double()[[2]]):
        cos = (n * axis).sum(1)
        assert kstest(cos, "uniform", (-1, 2)).pvalue > 1e-3


def test_a_splitting_keeps_the_sum():
    p, _ = (v[:6] for v in toy_jets(6)[:2])
    number = 10
    p = torch.cat([p[:, :number], torch.zeros(6, 40, 4).double()], dim=1)
    origin = torch.arange(50).expand(6, 50) % 2
    before, origin = p.clone(), origin.clone()
    jets = torch.tensor([0, 2, 5])
    _split(p, origin, jets, number, torch.Generator().manual_seed(0))
    torch.testing.assert_close(p.sum(1), before.sum(1), rtol=1e-13, atol=0)
    assert torch.equal(p[[1, 3, 4]], before[[1, 3, 4]])
    for jet in jets.tolist():
        changed = (p[jet] != before[jet]).any(1).nonzero().view(-1).tolist()
        assert len(changed) == 3 and changed[-1] == number
        assert len({int(origin[jet, c]) for c in changed}) == 1
        new = p[jet, changed]
        assert (new[:, 0] > 0).all()
        square = new[:, 0].square() - new[:, 1:].square().sum(1)
        assert (square.abs() < 1e-9 * new[:, 0].square()).all()


def test_facing():
    n = torch.tensor([[9.0, 0, 0.6, 0.8], [9, 2, 0, 0], [9, -1, 0, 0]]).double()
    p = torch.tensor([1.0, 1, 0, 0]).double().expand(3, 1, 4)
    expected = n[:, None, 1:] / n[:, None, 1:].norm(dim=2, keepdim=True)
    torch.testing.assert_close(_facing(p, n)[..., 1:], expected)


def test_data_set():
    data = ToyJets("val", 30, unit=10.0, resolution=0.0)
    assert len(data) == 30 and repr(data) == "ToyJets(30)" and data.num_classes == 2
    assert data[0].pos.dtype == torch.float64 and data[0].y.shape == (1,)
    assert data.counts.tolist() == [item.num_nodes for item in data]
    top = data.y == 1
    assert (data.masses()[top] - 173).abs().max() < 1e-9
    total = torch.stack([10 * item.pos.sum(0) for item in data])
    torch.testing.assert_close(data.momenta(), total)
    batch = next(iter(DataLoader(data, batch_size=30)))
    assert batch.pos.equal(data[0:30].pos) and batch.num_graphs == 30


def test_resolution():
    exact, measured = (ToyJets("val", 1000, resolution=r) for r in (0.0, 0.2))
    ratio = measured._data.pos / exact._data.pos
    assert ratio.std(dim=1).max() < 1e-12  # of the whole momentum
    assert ratio[:, 0].log().std() == pytest.approx(0.2, rel=0.02)
    spread = measured.masses()[measured.y == 1].std()
    assert 5 < spread < 15


def test_parts_have_nothing_in_common():
    seen = {}
    for split, seed in itertools.product(("train", "val", "test"), (0, 1)):
        for value in ToyJets(split, 200, seed).momenta()[:, 0].tolist():
            assert value not in seen, (split, seed, seen.get(value))
            seen[value] = split, seed
    # Blocks are made with seeds of their own.
    energies = ToyJets("train", 700).momenta()[:, 0]
    assert len(set(energies.tolist())) == 700
    assert ToyJets("train", 40).momenta().equal(ToyJets("train", 1200)[:40].momenta())
    assert [len(ToyJets(s)) for s in ("train", "val", "test")] == [5000, 1000, 2000]


@pytest.mark.parametrize(
    "settings,error,message",
    [
        ({"split": "valid"}, ValueError, "'split' must be one of"),
        ({"num": 0}, ValueError, "'num' must be at least 1"),
        ({"seed": 0.5}, TypeError, "'seed' must be an integer"),
        ({"unit": -1.0}, ValueError, "'unit' must be a positive number"),
        ({"resolution": -0.1}, ValueError, "'resolution' must not be negative"),
        ({"resolution": float("nan")}, ValueError, "'resolution' must not"),
    ],
)
def test_bad_arguments(settings, error, message):
    with pytest.raises(error, match=message):
        ToyJets(**{"num": 5} | settings)


def test_lorentz_toy():
    """The target as it is defined, and invariant to boosts and reflections."""
    data = LorentzToy(50)
    assert len(data) == 50 and data[3].x.equal(torch.eye(4).double())
    p = torch.stack([item.pos for item in data])
    assert p.std() == pytest.approx(0.25, rel=0.05)
    eta = torch.diag(torch.tensor([1.0, -1, -1, -1])).double()
    for item in data:
        a, b, c, d = item.pos
        first = torch.outer(a, c) - (a @ eta @ c - a @ eta @ a) * eta
        second = torch.outer(b, d) - (b @ eta @ d - b @ eta @ b) * eta
        wanted = 4 * torch.einsum("mn,ma,nb,ab->", first, eta, eta, second)
        torch.testing.assert_close(item.y[0], wanted)
    for g in (boost(1.0), eta, -eta):
        torch.testing.assert_close(lorentz_target(p @ g.T), data.y)
    assert data.y.std() > 0.1
    with pytest.raises(ValueError, match="'num' must be at least 1"):
        LorentzToy(0)
