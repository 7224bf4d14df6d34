"""Symmetries are found in data, by every method."""

import math
import warnings

import pytest
import torch
from torch.testing import assert_close

from lieconv_pyg.discovery import (
    Augerino,
    AugerinoMolecules,
    AugerinoPlus,
    DiscoveryMethod,
    GradientNullSpace,
    LieGAN,
    Player,
    Representation,
    SymmetryGAN,
    SymmetryPairs,
    affine_generators,
    discrete_rotation,
    gradient_null_space,
    identity_penalty,
    lorentz_basis,
    score_basis,
    score_cyclic,
    step_pairs,
    two_body_orbits,
)
from lieconv_pyg.groups import SE3, SO2, T
from lieconv_pyg.nn import MoleculeLieResNet

pytest.importorskip("lightning")

from lieconv_pyg.training import DiscoveryModule, discover

TURN = SO2().generators(torch.double)
FAST = dict(max_epochs=30, batch_size=128, lr=1e-2)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def plane(num=8000):
    """A map of the plane that turns keep, on points that they keep too."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(num, 2, generator=random)
    return SymmetryPairs(x, x * x.norm(dim=1, keepdim=True), true_basis=TURN)


def test_lie_gan_finds_rotations():
    """From generated data, in less than a minute."""
    torch.manual_seed(0)
    pairs = plane()
    method = LieGAN(pairs.representation, init_scale=0.5, hidden_channels=128)
    found = discover(method, pairs, **FAST)
    assert found.score.coverage > 0.99 and found.score.dimension == 1
    assert found.collapse is None and found.restarts == 0
    assert found.metric.gap < 0.2  # a circle, and no other form
    assert "coverage 0.99" in str(found) or "coverage 1.0" in str(found)


def test_augerino_plus_finds_rotations():
    torch.manual_seed(1)
    pairs = plane(4000)
    method = AugerinoPlus(pairs.representation, init_scale=0.5, hidden_channels=32)
    found = discover(method, pairs, 8, 128, 2e-2)
    assert found.score.coverage > 0.99 and found.collapse is None


def test_null_space_finds_rotations():
    torch.manual_seed(0)
    pairs = plane(4000)
    null = GradientNullSpace(pairs.representation)
    found = discover(null, pairs, 20)
    assert found.score.coverage > 0.99 and found.score.dimension == 1
    assert null.null_space(pairs.x).residuals[0] < 0.1


def test_symmetry_gan_finds_an_element():
    torch.manual_seed(1)
    pairs = plane()
    method = SymmetryGAN(pairs.representation, init_scale=0.5, hidden_channels=128)
    discover(method, pairs, **FAST)
    g = method.elements(1)[0].detach()
    assert_close(g @ g.T, torch.eye(2), rtol=0, atol=0.1)


@pytest.mark.parametrize("y_type", ["vectors", "scalars"])
def test_null_space_of_a_known_function(y_type):
    """That of a function with the symmetry is exact."""
    x = torch.randn(200, 2, 4, dtype=torch.double)
    eta = torch.tensor([1.0, -1, -1, -1], dtype=torch.double)

    def function(x):
        product = (x[:, 0] * x[:, 1] * eta).sum(1, keepdim=True)
        return (product**2 + 1) if y_type == "scalars" else (product * x[:, 0])[:, None]

    space = gradient_null_space(function, x, Representation(4, 2, y_type))
    assert bool((space.residuals[:6] < 1e-12).all()) and space.residuals[6] > 0.05
    score = score_basis(space.generators[:6], lorentz_basis())
    assert score.coverage == pytest.approx(1) and score.killing == (3, 3, 0)


def test_null_space_of_masked_data_in_a_plane():
    """Only what acts on the data counts, and only what the mask has."""
    pairs = step_pairs(two_body_orbits(60, "plane"), "orbits", extended=True)

    def function(x):
        return x * torch.tensor([1.0, 2, 3, 4, 1, 2, 3, 4]).to(x)

    r = pairs.representation
    found = gradient_null_space(function, pairs.x[:300].double(), r).generators
    assert len(found) == 16  # 4 x 2 for positions, as many for momenta
    assert not (found * (1 - r.mask_tensor())).any()
    few = Representation(8, 1, "scalars", 4, r.mask)
    with pytest.raises(ValueError, match="4 equations do not settle 8 entries"):
        gradient_null_space(lambda x: x[:, 0, :4], pairs.x[:1].double(), few)
    with pytest.raises(ValueError, match="gradients of the function are 0"):
        gradient_null_space(lambda x: 0 * x[:, 0, :4], pairs.x[:9], few)


def test_sequential_channels():
    """One after the other, orthogonal to those before, which stay as they are."""
    pairs = plane(500)
    torch.manual_seed(0)
    method = LieGAN(
        pairs.representation, 2, sequential=True, hidden_channels=16, channel_weight=1.0
    )
    first = method.generator.basis.detach().clone()
    method.start_epoch(0, 4)
    assert method.generator.active.tolist() == [1, 0]
    discover(method, pairs, 2, 100, 1e-2)
    # Half of the epochs each.
    assert method.generator.active.tolist() == [0, 1]
    changed = (method.generator.basis - first).flatten(1).norm(dim=1)
    assert bool((changed > 0.01).all())
    for _ in range(3):
        for player in method.players():
            player.loss(pairs.x, pairs.y).backward()
    assert not method.generator.weight.grad[0].any()


def test_which_known_generators_are_used():
    """With the basis given, the scales of the coefficients are learned."""
    pairs = plane()
    stretch = torch.tensor([[[1.0, 0.0], [0.0, -1.0]]])
    basis = torch.cat([TURN.float(), stretch])
    torch.manual_seed(0)
    method = LieGAN(pairs.representation, basis=basis, hidden_channels=128)
    found = discover(method, pairs, **FAST)
    lengths = found.basis.flatten(1).norm(dim=1)
    assert lengths[1] < 0.1 * lengths[0]
    assert found.score.dimension in (1, 2) and found.score.coverage > 0.99


class Nothing(DiscoveryMethod):
    """Collapses to the identity, until it has begun anew often enough."""

    def __init__(self, representation, bad):
        super().__init__(representation)
        self.weight = torch.nn.Parameter(torch.zeros(1, 2, 2))
        self.bad, self.resets = bad, 0

    def players(self):
        return [Player("loss", self._loss, [self.weight])]

    def _loss(self, x, y):
        wrong = self.bad == "nan always" or (self.bad == "nan" and self.resets == 0)
        return self.weight.square().sum() + (math.nan if wrong else 0.0)

    def elements(self, num):
        works = self.resets >= (2 if self.bad == "twice" else 1)
        angle = TURN.float() if works and self.bad != "always" else 1e-3 * TURN.float()
        return torch.matrix_exp(angle).expand(num, -1, -1)

    def reset_parameters(self):
        self.resets += 1

    def find_basis(self, x, y):
        return TURN


@pytest.mark.parametrize(
    ("bad", "restarts", "epochs"), [("once", 1, 7), ("twice", 2, 6), ("nan", 1, 3)]
)
def test_collapse_begins_anew(bad, restarts, epochs):
    """The epochs before do not count."""
    pairs = plane(300)
    method = Nothing(pairs.representation, bad)
    seen = []
    method.start_epoch = lambda epoch, num: seen.append((epoch, num))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = discover(method, pairs, 4 if bad == "once" else 2, 100)
    assert "begins anew (1 of 3)" in str(said[0].message)
    assert found.restarts == restarts == method.resets and found.collapse is None
    assert len(seen) == epochs and seen[-1][0] + 1 == seen[-1][1]


def test_collapse_that_stays_is_said():
    pairs = plane(300)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = discover(Nothing(pairs.representation, "always"), pairs, 8, 100)
    assert (
        found.restarts == 3 and len([w for w in said if "anew" in str(w.message)]) == 3
    )
    assert "elements move points by 0.1 % only" in found.collapse
    assert "no symmetry was found" in str(found)


def test_a_loss_that_stays_infinite_is_said():
    pairs = plane(300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = discover(Nothing(pairs.representation, "nan always"), pairs, 8, 100)
    assert (found.restarts, found.collapse) == (3, "the loss is not finite")


class OnceNaN(LieGAN):
    """Its first loss is not a number. It remembers which channels are in use."""

    def _fool(self, x, y):
        self.seen.append(self.generator.active.tolist())
        return super()._fool(x, y) * (math.nan if len(self.seen) == 1 else 1.0)


def test_sequential_channels_begin_anew_in_an_epoch():
    """With the first one alone."""
    pairs = plane(300)
    method = OnceNaN(pairs.representation, 2, sequential=True, hidden_channels=8)
    method.seen = []
    with pytest.warns(UserWarning, match="begins anew"):
        discover(method, pairs, 4, 100)
    assert method.seen[:12] == [[1, 0]] * 6 + [[0, 1]] * 6


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_pairs_in_other_precisions(dtype):
    pairs = plane(100)
    other = SymmetryPairs(pairs.x.to(dtype), pairs.y.to(dtype))
    for method in (LieGAN, SymmetryGAN, AugerinoPlus, Augerino, GradientNullSpace):
        network = method(other.representation, hidden_channels=8)
        assert discover(network, other, 1, 50).basis.shape[1:] == (2, 2)


def test_displacement_and_collapse():
    pairs = plane(100)
    method = LieGAN(pairs.representation, hidden_channels=8)
    with torch.no_grad():
        method.generator.weight.copy_(1e-3 * torch.ones(1, 2, 2))
    assert method.displacement(pairs.x) < 0.01
    assert "move points by" in method.collapsed(pairs.x)
    with torch.no_grad():
        method.generator.weight.copy_(30 * torch.eye(2))
    assert "times as far as they are" in method.collapsed(pairs.x)
    assert GradientNullSpace(pairs.representation).collapsed(pairs.x) is None


def test_score_of_a_discrete_symmetry():
    turn = discrete_rotation(10).true_basis[0]
    for m in (1, 3, 8, -2):
        found, error = score_cyclic(2 * math.pi * m / 7 * turn, turn, 7)
        assert found == m % 7 and error < 1e-9
    off = score_cyclic(2 * math.pi * 7 / 7 * turn, turn, 7)[1]
    assert off > 0.5  # the identity generates nothing
    near = score_cyclic(2 * math.pi * 2.01 / 7 * turn, turn, 7)
    assert near[0] == 2 and 0.01 < near[1] < 0.1
    with pytest.raises(ValueError, match="'order' must be at least 2"):
        score_cyclic(turn, turn, 1)
    with pytest.raises(TypeError, match="'learned' must be a floating-point tensor"):
        score_cyclic([1.0], turn, 7)
    with pytest.raises(ValueError, match="single generators of one size"):
        score_cyclic(turn, torch.eye(2), 3)


def test_methods_and_data_go_together():
    pairs = plane(50)
    method = LieGAN(Representation(3), hidden_channels=8)
    with pytest.raises(ValueError, match="built for size 3, the data have 2"):
        discover(method, pairs, 1, 10)
    with pytest.raises(TypeError, match=r"pairs.representation \(got SymmetryPairs"):
        LieGAN(pairs)
    with pytest.raises(ValueError, match="batch_size 64 is more than the 50 training"):
        discover(LieGAN(pairs.representation), pairs, 1)
    with pytest.raises(ValueError, match="max_restarts must be at least 0"):
        DiscoveryModule(method, max_restarts=-1)
    with pytest.raises(ValueError, match="'identity' must be one of cosine"):
        LieGAN(pairs.representation, identity="sine")
    with pytest.raises(ValueError, match="leave 'basis' out"):
        LieGAN(pairs.representation, sequential=True, basis=TURN)
    with pytest.raises(ValueError, match=r"'generators' must have shape \(c, 2, 2\)"):
        Augerino(pairs.representation, torch.eye(3).unsqueeze(0))
    for build in (
        lambda: Augerino(pairs.representation, [[1.0]]),
        lambda: AugerinoMolecules(torch.nn.Identity(), [[1.0]]),
    ):
        with pytest.raises(TypeError, match="'generators' must be a floating-point"):
            build()
    for name, bad in (("reward", -1.0), ("reward", math.inf), ("init", math.nan)):
        with pytest.raises(ValueError, match=f"'{name}' must be .*, got {bad}"):
            Augerino(pairs.representation, **{name: bad})


def test_augerino_learns_widths():
    """Turns are wanted, stretches are not."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 2, generator=random)
    pairs = SymmetryPairs(x, x.norm(dim=1), "scalars")
    basis = torch.cat(
        [TURN.float(), torch.diag(torch.tensor([1.0, -1.0])).unsqueeze(0)]
    )
    torch.manual_seed(0)
    method = Augerino(pairs.representation, basis, reward=0.002, hidden_channels=64)
    found = discover(method, pairs, 40, 128, 1e-2)
    turn, stretch = found.basis.flatten(1).norm(dim=1).tolist()
    assert turn > 4 * stretch and turn > 2


def test_labels_and_numbers():
    """A step of each method, for each kind of y."""
    x = torch.randn(40, 2, 3)
    for y, kind in (
        (torch.arange(40) % 3, "labels"),
        (torch.randn(40, 2), "scalars"),
        (torch.randn(40, 2, 3), "vectors"),
    ):
        pairs = SymmetryPairs(x, y, kind)
        r = pairs.representation
        methods = (
            LieGAN(r, 2, hidden_channels=8, closure_weight=0.1, norm_weight=1e-3),
            LieGAN(r, 2, hidden_channels=8, identity="difference"),
            SymmetryGAN(r, hidden_channels=8),
            AugerinoPlus(r, hidden_channels=8),
            AugerinoPlus(r, 2, hidden_channels=8, identity="none"),
            Augerino(r, hidden_channels=8),
            GradientNullSpace(r, hidden_channels=8),
        )
        for method in methods:
            for player in method.players():
                loss = player.loss(pairs.x, pairs.y)
                assert loss.shape == () and bool(loss.isfinite())
                loss.backward()
            assert any(p.grad is not None for p in method.parameters())
            basis = method.find_basis(pairs.x, pairs.y)
            assert basis.shape[1:] == (3, 3)


def test_augerino_for_molecules():
    """As a network of molecules: moved in training, a fixed mean in evaluation."""
    torch.manual_seed(0)
    inner = MoleculeLieResNet(
        T(3), hidden_channels=8, num_layers=1, augment=False, center=False
    )
    network = AugerinoMolecules(inner)
    assert affine_generators(3).shape == (12, 4, 4)
    assert torch.linalg.matrix_rank(affine_generators(3).flatten(1)) == 12
    assert not affine_generators(3)[:, 3].any()
    z = torch.tensor([6, 1, 1, 8, 1])
    pos, batch = torch.randn(5, 3), torch.tensor([0, 0, 0, 1, 1])
    network.calibrate(pos, batch)
    out = network(z, pos, batch)
    assert out.shape == (2, 1)
    (out.sum() + network.penalty()).backward()
    assert network.widths.theta.grad.abs().min() > 0
    w = network.widths.widths
    assert network.penalty().item() == pytest.approx(-1e-3 * w.square().sum().item())
    network.eval()
    with torch.no_grad():
        first = network(z, pos, batch)
        assert torch.equal(first, network(z, pos, batch))
        assert_close(network(z[:3], pos[:3]), first[:1])
        # Narrow distributions leave the network as it is.
        network.widths.theta.fill_(-30.0)
        assert_close(network(z, pos, batch), inner(z, pos, batch))
        # One above the bound has no reward.
        network.widths.theta.fill_(20.0)
        assert network.penalty() == 0
    with pytest.raises(ValueError, match="give augment=False"):
        AugerinoMolecules(MoleculeLieResNet(SE3(), hidden_channels=8, num_layers=1))


def test_wrong_settings():
    pairs = plane(10)
    r = pairs.representation
    for weight in ("identity_weight", "channel_weight", "closure_weight"):
        with pytest.raises(ValueError, match=f"'{weight}' must be at least 0"):
            LieGAN(r, **{weight: -1.0})
    with pytest.raises(ValueError, match="'identity_weight' must be at least 0"):
        AugerinoPlus(r, identity_weight=math.nan)
    with pytest.raises(ValueError, match="'num_points' must be at least 1"):
        GradientNullSpace(r, num_points=0)
    with pytest.raises(TypeError, match="'method' must be a DiscoveryMethod"):
        discover(torch.nn.Linear(2, 2), pairs)
    with pytest.raises(TypeError, match="'pairs' must be SymmetryPairs"):
        discover(LieGAN(r), pairs.x)
    with pytest.raises(ValueError, match="'kind' must be cosine or difference"):
        identity_penalty(pairs.x, pairs.x, "none")


def test_null_space_of_numbers():
    """One number for each point is as good as a row of one."""
    r = Representation(2, y_type="scalars")
    x = torch.randn(20, 1, 2, dtype=torch.double)
    found = gradient_null_space(lambda x: x.square().sum((1, 2)), x, r)
    rows = gradient_null_space(lambda x: x.square().sum(2), x, r)
    assert_close(found.generators, rows.generators)
    assert_close(found.generators[0].abs(), TURN[0].abs() / 2**0.5)
    with pytest.raises(TypeError, match="'x' must be a floating-point tensor"):
        gradient_null_space(lambda x: x.square().sum((1, 2)), x.long(), r)
    for wrong, match in ((x[:, 0], "shape"), (x[:0], "shape"), (x[:1], "more points")):
        with pytest.raises(ValueError, match=match):
            gradient_null_space(lambda x: x.square().sum((1, 2)), wrong, r)
    with pytest.raises(ValueError, match=r"must give vectors \(B, l, 2\)"):
        gradient_null_space(lambda x: x.square().sum((1, 2)), x, Representation(2))
