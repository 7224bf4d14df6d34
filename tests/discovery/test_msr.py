"""Patterns of sharing, learned from many tasks."""

import os

import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import conv1d, mse_loss
from torch.testing import assert_close

from lieconv_pyg.discovery import (
    MAML,
    LieGAN,
    LocalLinear,
    SharedLinear,
    SharingTasks,
    SymmetryPairs,
    plot_sharing,
    score_sharing,
    synthetic_tasks,
)

pytest.importorskip("lightning")

from lieconv_pyg.training import DivergenceError, MetaModule, discover, meta_train


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def double(module):
    torch.manual_seed(0)
    module = module.double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


def two_layers():
    """Of 4 inputs and 2 outputs, with different rates."""
    network = torch.nn.Sequential(
        SharedLinear(4, 3, 2), torch.nn.Tanh(), torch.nn.Linear(3, 2)
    )
    return double(MAML(network))


def test_weights_are_shared():
    layer = double(SharedLinear(5, 3, 2))
    weight = torch.zeros(3, 5).double()
    for i in range(3):
        for j in range(5):
            for k in range(2):
                weight[i, j] += layer.sharing[5 * i + j, k] * layer.latent[k]
    x = torch.randn(7, 5).double()
    assert_close(layer.weight, weight)
    assert_close(layer(x), x @ weight.T)
    assert_close(torch.einsum("kij,k->ij", layer.patterns, layer.latent), weight)
    patterns = torch.randn(2, 3, 5).double()
    layer.set_patterns(patterns)
    assert_close(layer.patterns, patterns)
    assert repr(layer) == "SharedLinear(5, 3, size=2)"


@pytest.mark.parametrize("shared", [True, False])
def test_local_layers(shared):
    layer = double(LocalLinear(8, 3, shared))
    x = torch.randn(4, 8).double()
    if shared:
        expected = conv1d(x.unsqueeze(1), layer.filters.unsqueeze(1)).squeeze(1)
    else:
        expected = torch.stack(
            [x[:, t : t + 3] @ layer.filters[t] for t in range(6)], dim=1
        )
    assert_close(layer(x), expected)
    assert layer.out_features == 6
    assert repr(layer) == f"LocalLinear(8, 3, shared={shared})"


def test_inner_step_is_that_of_autograd():
    """On each parameter but the sharing, each with its rate; for all tasks at once."""
    learner = two_layers()
    network = learner.network
    assert learner.inner == ["0.latent", "2.weight", "2.bias"]
    x, y = torch.randn(5, 6, 4).double(), torch.randn(5, 6, 2).double()
    out = learner(x[:, :2], y[:, :2], x[:, 2:])
    for task in range(5):
        inner = [network[0].latent, network[2].weight, network[2].bias]
        loss = mse_loss(network(x[task, :2]), y[task, :2])
        slopes = torch.autograd.grad(loss, inner)
        latent, weight, bias = (
            value - rate * slope
            for value, rate, slope in zip(inner, learner.rates, slopes, strict=True)
        )
        hidden = x[task, 2:] @ (network[0].sharing @ latent).view(3, 4).T
        assert_close(out[task], hidden.tanh() @ weight.T + bias)
        adapted = learner.adapt(x[task, :2], y[task, :2])
        assert_close(list(adapted.values()), [latent, weight, bias])
    learner.num_support = 2
    assert_close(learner.errors(x, y), (out - y[:, 2:]).square().flatten(1).mean(dim=1))


def test_gradients_through_the_inner_step():
    learner = two_layers()
    x, y = torch.randn(2, 3, 4).double(), torch.randn(2, 3, 2).double()
    names, values = zip(*learner.named_parameters(), strict=True)
    assert "network.0.sharing" in names and "rates" in names

    def function(*values):
        parameters = dict(zip(names, values, strict=True))
        return functional_call(learner, parameters, (x[:, :1], y[:, :1], x[:, 1:]))

    assert torch.autograd.gradcheck(function, values)
    learner.errors(x, y).mean().backward()
    assert all(bool(p.grad.any()) for p in learner.parameters())


def test_true_sharing_generalises_to_all_positions():
    """From one example; a layer that shares nothing learns hardly anything of it."""
    tasks = synthetic_tasks("convolution", 200)
    layer = SharedLinear(70, 68, 3)
    layer.set_patterns(tasks.patterns)
    torch.nn.init.zeros_(layer.latent)
    local = LocalLinear(70, 3, shared=False)
    torch.nn.init.zeros_(local.filters)
    x, y = tasks.x, tasks.y
    size = y.square().mean()
    for network, rate in ((layer, 0.45), (local, 4.0)):
        learner = MAML(network, rate)
        with torch.no_grad():
            support = learner(x[:, :1], y[:, :1], x[:, :1]) - y[:, :1]
            query = learner(x[:, :1], y[:, :1], x[:, 1:]) - y[:, 1:]
        positions = query.square().mean((0, 1)) / size
        assert positions.shape == (68,)
        if network is layer:
            assert support.square().mean() < 0.12 * size
            assert positions.max() < 0.12
        else:
            assert support.square().mean() < 0.5 * size
            assert positions.min() > 0.6


def test_convolutions_are_found():
    torch.manual_seed(0)
    tasks = synthetic_tasks("convolution", 1000, length=16)
    train, test = tasks.split(700)
    layer = SharedLinear(16, 14, 6)
    before = MAML(layer).errors(test.x, test.y).mean().item()
    assert score_sharing(layer.patterns, tasks.patterns).coverage < 0.1
    found = meta_train(layer, train, test, 200, lr=1e-2)
    assert len(found.errors) == 300 and len(found.losses) == 200
    assert found.mse < 0.4 * before
    assert found.score.coverage > 0.95
    assert found.score == score_sharing(layer.patterns, tasks.patterns)
    with torch.no_grad():
        again = MAML(layer)
        again.rates.copy_(torch.tensor(found.rates))
        assert_close(again.errors(test.x, test.y), found.errors)
    assert found.uncertainty == pytest.approx(found.errors.std().item() / 300**0.5)
    assert "SharedLinear on convolution: test MSE 0." in str(found)
    assert "300 tasks after 200 steps" in str(found)
    assert "3 true ones, coverage 0.9" in str(found)
    # One that shares as it should does no worse; one that shares nothing does.
    conv = meta_train(LocalLinear(16), train, test, 100, lr=1e-2)
    assert conv.score is None and conv.mse < found.mse + 0.05
    dense = torch.nn.Linear(16, 14, bias=False)
    assert meta_train(dense, train, test, 100, lr=1e-2).mse > 1.5 * found.mse


def test_training_is_repeatable():
    tasks = synthetic_tasks("rank2", 60, length=12)
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(0)
        layer = SharedLinear(12, 10, 6)
        losses.append(meta_train(layer, *tasks.split(50), 3, 8, seed=seed).losses)
    assert torch.equal(losses[0], losses[1]) and not torch.equal(losses[0], losses[2])


@pytest.mark.parametrize("kind, size, least", [("rank2", 6, 0.85), ("rank5", 15, 0.6)])
def test_filters_that_mix_are_found(kind, size, least):
    torch.manual_seed(0)
    train, test = synthetic_tasks(kind, 1000, length=12).split(700)
    layer = SharedLinear(12, 10, size)
    score = meta_train(layer, train, test, 250, lr=1e-2).score
    assert score.true_dimension == size
    assert score.coverage > least > 4 * score.chance


def test_support_is_drawn_in_training():
    """From the examples of a task, with the values that belong to them."""
    module = MetaModule(MAML(LocalLinear(8)))
    module.log = lambda *args, **kwargs: None
    seen = []
    module.network.errors = lambda x, y: seen.append((x, y)) or x.sum((1, 2))
    x = torch.randn(5, 20, 8)
    for _ in range(2):
        module.training_step([x, x[..., :6]], 0)
    module.test_step([x, x[..., :6]], 0)
    (first, values), (second, _), (last, _) = seen
    assert not torch.equal(first[:, 0], second[:, 0]) and torch.equal(last, x)
    assert torch.equal(values, first[..., :6])
    assert_close(first.sort(1).values, x.sort(1).values, rtol=0, atol=0)


def test_random_numbers_of_a_program_go_on(monkeypatch):
    """As if there had been no training, also after one that fails."""
    tasks = synthetic_tasks("convolution", 20, length=8)
    x = torch.randn(20, 2)
    pairs = SymmetryPairs(x, x)
    layer, network = LocalLinear(8), LieGAN(pairs.representation, hidden_channels=4)
    monkeypatch.setenv("PL_GLOBAL_SEED", "17")
    monkeypatch.delenv("PL_SEED_WORKERS", raising=False)
    environment = dict(os.environ)
    torch.manual_seed(3)
    expected = torch.rand(3)

    def diverge():
        with pytest.raises(DivergenceError):
            meta_train(layer, tasks, tasks, 3, 5, inner_lr=1e30)

    for train in (
        lambda: meta_train(layer, tasks, tasks, 3, 5),
        lambda: discover(network, pairs, 1, 10),
        diverge,
    ):
        torch.manual_seed(3)
        train()
        assert torch.equal(torch.rand(3), expected)
        assert dict(os.environ) == environment


def test_tasks_in_another_precision():
    tasks = synthetic_tasks("convolution", 20, length=8)
    double = SharingTasks(tasks.x.double(), tasks.y.double())
    for network in (torch.nn.Linear(8, 6), SharedLinear(8, 6, 3).double()):
        assert MAML(network).rates.dtype == next(network.parameters()).dtype
        for given in (tasks, double):
            assert meta_train(network, given, given, 2, 5).mse < 10


def filters_of(tasks, size=3):
    """Filters (T, m, l), by least squares, and whether they explain the values."""
    windows = tasks.x.double().unfold(2, size, 1).transpose(1, 2)  # (T, m, B, l)
    values = tasks.y.double().transpose(1, 2).unsqueeze(3)
    found = torch.linalg.lstsq(windows, values).solution
    assert_close(windows @ found, values, rtol=0, atol=1e-5)
    return found.squeeze(3)


@pytest.mark.parametrize("kind, rank", [("convolution", 1), ("rank2", 2), ("rank5", 5)])
def test_tasks_are_what_they_say(kind, rank):
    tasks = synthetic_tasks(kind, 30)
    assert tasks.x.shape == (30, 20, 70) and tasks.y.shape == (30, 20, 68)
    filters = filters_of(tasks)
    stacked = filters.transpose(0, 1).flatten(1)  # (m, 3 T)
    assert torch.linalg.matrix_rank(stacked, rtol=1e-5) == rank
    assert float(torch.linalg.svdvals(stacked)[rank - 1]) > 1
    if kind == "convolution":
        assert_close(filters, filters[:, :1].expand(-1, 68, -1), rtol=0, atol=1e-5)
    # The weights are in the span of the patterns.
    weights = torch.zeros(30, 68, 70).double()
    for t in range(68):
        weights[:, t, t : t + 3] = filters[:, t]
    assert tasks.patterns.shape == (3 * rank, 68, 70)
    columns = tasks.patterns.double().flatten(1).t()
    mix = torch.linalg.lstsq(columns, weights.flatten(1).t()).solution
    assert_close(columns @ mix, weights.flatten(1).t(), rtol=0, atol=1e-5)
    assert mix.std().item() == pytest.approx(1, abs=0.2)
    # Mixing weights are positive and sum to 1.
    assert bool((tasks.patterns >= 0).all())
    band = tasks.patterns.sum(0)
    ones = torch.ones(68, 70).triu(0).tril(2)
    assert_close(band, ones)


def test_seeds_and_splits_of_tasks():
    tasks = synthetic_tasks("rank2", 8, 4, 9, 2, seed=3)
    again = synthetic_tasks("rank2", 8, 4, 9, 2, seed=3)
    other = synthetic_tasks("rank2", 8, 4, 9, 2, seed=4)
    assert tasks.y.shape == (8, 4, 8) and torch.equal(tasks.y, again.y)
    assert not torch.equal(tasks.patterns, other.patterns)
    first, last = tasks.split(6)
    assert len(first) == 6 and len(last) == 2
    assert torch.equal(last[1][1], tasks.y[7]) and last.patterns is tasks.patterns
    assert repr(last) == "SharingTasks('locally connected, rank 2', 2)"
    assert tasks[[1, 3]][0].shape == (2, 4, 9)


def test_score():
    true = synthetic_tasks("rank2", 1).patterns.double()
    random = torch.Generator().manual_seed(0)
    mix = torch.randn(6, 6, generator=random).double()
    score = score_sharing(torch.einsum("ck,kij->cij", mix, true), true)
    assert score.coverage == pytest.approx(1) and score.purity == pytest.approx(1)
    assert max(score.angles) < 1e-4 and score.dimension == 6
    half = torch.cat([true[:3], 1e-3 * torch.randn(true[:1].shape, generator=random)])
    score = score_sharing(half, true)
    assert score.dimension == 3  # the last one is dead
    assert (score.coverage, score.purity) == pytest.approx((0.5, 1))
    lengths = torch.tensor([1, 1e-1, 1e-2, 1e-3, 1, 1]).view(-1, 1, 1)
    again = score_sharing(true, torch.cat([lengths * true, true[:1] + true[1:2]]))
    assert again.true_dimension == 6 and again.coverage == pytest.approx(1)
    noise = torch.randn(100, 68, 70, generator=random)
    score = score_sharing(noise, true)
    assert score.coverage == pytest.approx(score.chance, rel=0.7)
    assert score.chance == 100 / (68 * 70) and "6 true ones" in str(score)


def test_figure(tmp_path):
    true = synthetic_tasks("convolution", 1).patterns
    noisy = true[:2] + 0.1 * torch.randn(2, 68, 70)
    plot_sharing(noisy, true, tmp_path / "sharing.png", num=2)
    assert (tmp_path / "sharing.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="'num' must be at least 1"):
        plot_sharing(true, true, tmp_path / "none.png", num=0)


def test_bad_sizes():
    with pytest.raises(ValueError, match="'size' must be at least 1, got 0"):
        SharedLinear(4, 3, 0)
    with pytest.raises(TypeError, match="'size' must be an integer"):
        SharedLinear(4, 3, 1.5)
    with pytest.raises(ValueError, match=r"shape \(2, 3, 4\), got \(2, 4, 3\)"):
        SharedLinear(4, 3, 2).set_patterns(torch.zeros(2, 4, 3))
    with pytest.raises(ValueError, match="'patterns' has infinite or NaN"):
        SharedLinear(4, 3, 2).set_patterns(torch.full((2, 3, 4), torch.nan))
    with pytest.raises(ValueError, match="at least the kernel size 3, got 2"):
        LocalLinear(2)
    for lr in (0.0, torch.nan, torch.inf):
        with pytest.raises(ValueError, match="'lr' must be positive and finite"):
            MAML(LocalLinear(4), lr)
    with pytest.raises(ValueError, match="'num_support' must be at least 1"):
        MAML(LocalLinear(4), num_support=0)
    with pytest.raises(ValueError, match="no parameters that a task could change"):
        MAML(torch.nn.Tanh())
    for shared in (True, False):
        with pytest.raises(ValueError, match=r"shape \(\*, 8\), got \(2, 3\)"):
            LocalLinear(8, 3, shared)(torch.zeros(2, 3))
    narrow = MAML(torch.nn.Linear(4, 1))
    with pytest.raises(ValueError, match=r"shape \(1, 1\) for .* 'y' has \(1, 2\)"):
        narrow.errors(torch.zeros(5, 3, 4), torch.zeros(5, 3, 2))
    learner = MAML(LocalLinear(4))
    with pytest.raises(ValueError, match=r"got \(5, 4\) and \(5, 2\)"):
        learner.errors(torch.zeros(5, 4), torch.zeros(5, 2))
    with pytest.raises(ValueError, match=r"got \(0, 3, 4\) and \(0, 3, 2\)"):
        learner.errors(torch.zeros(0, 3, 4), torch.zeros(0, 3, 2))
    with pytest.raises(ValueError, match=r"1 examples are for support: .* got 1"):
        learner.errors(torch.zeros(5, 1, 4), torch.zeros(5, 1, 2))


def test_bad_tasks():
    with pytest.raises(ValueError, match="convolution, rank2, rank5, got 'rank3'"):
        synthetic_tasks("rank3")
    with pytest.raises(ValueError, match="at least the kernel size 3, got 2"):
        synthetic_tasks("rank2", length=2)
    with pytest.raises(ValueError, match="'num_tasks' must be at least 1"):
        synthetic_tasks("rank2", 0)
    x, y = torch.zeros(4, 3, 5), torch.zeros(4, 3, 2)
    for bad in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="'y' has infinite or NaN entries"):
            SharingTasks(x, y + bad)
    with pytest.raises(TypeError, match="'x' must be a floating-point tensor"):
        SharingTasks(x.long(), y)
    with pytest.raises(ValueError, match=r"'x' must have shape \(tasks, examples, n"):
        SharingTasks(x[0], y)
    with pytest.raises(ValueError, match="'x' has 4 tasks of 3 examples, 'y' has 4 of"):
        SharingTasks(x, y[:, :2])
    with pytest.raises(ValueError, match=r"'patterns' must have shape \(k, 2, 5\)"):
        SharingTasks(x, y, torch.zeros(1, 5, 2))
    with pytest.raises(ValueError, match="'patterns' has infinite or NaN entries"):
        SharingTasks(x, y, torch.full((1, 2, 5), torch.nan))
    with pytest.raises(TypeError, match="'patterns' must be a floating-point tensor"):
        SharingTasks(x, y, torch.zeros(1, 2, 5).long())
    with pytest.raises(ValueError, match="between 0 and the 4 tasks, got 4"):
        SharingTasks(x, y).split(4)


def test_bad_training_and_scores():
    tasks = synthetic_tasks("convolution", 20, length=8)
    with pytest.raises(ValueError, match="'batch_size' 32 is more than the 20 train"):
        meta_train(LocalLinear(8), tasks, tasks)
    with pytest.raises(ValueError, match="'num_steps' must be at least 1"):
        meta_train(LocalLinear(8), tasks, tasks, 0, 5)
    # Before the training.
    layer = LocalLinear(8)
    before = layer.filters.clone()
    few = SharingTasks(tasks.x[:, :1], tasks.y[:, :1])
    with pytest.raises(ValueError, match="1 examples are for support"):
        meta_train(layer, tasks, few, 3, 5)
    other = synthetic_tasks("convolution", 5, length=9)
    with pytest.raises(ValueError, match=r"alike, got \(8, 6\) and \(9, 7\)"):
        meta_train(layer, tasks, other, 3, 5)
    assert torch.equal(layer.filters, before)
    with pytest.raises(ValueError, match="lr must be positive"):
        MetaModule(MAML(LocalLinear(8)), 0.0)
    with pytest.raises(DivergenceError, match="not finite at step 1 "):
        meta_train(LocalLinear(8), tasks, tasks, 3, 5, inner_lr=1e30)
    true = tasks.patterns
    with pytest.raises(TypeError, match="'learned' must be a floating-point"):
        score_sharing(true.long(), true)
    with pytest.raises(ValueError, match=r"'learned' must have shape \(patterns, m"):
        score_sharing(true.mT, true)
    for bad in (torch.zeros_like(true), true + torch.nan):
        with pytest.raises(ValueError, match="'learned' is zero, or has infinite"):
            score_sharing(bad, true)
