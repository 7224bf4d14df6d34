import math

import pytest
import torch

from lieconv_pyg.discovery import invariant_metric
from lieconv_pyg.nn import InvariantMetricConv
from lieconv_pyg.nn.invariant_metric_conv import signed_log

from .conftest import randomize

MINKOWSKI = torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0], dtype=torch.float64))


def keeping(metric, generator, size=1.0):
    """A random exp(A) that keeps a metric without null directions: with J A
    antisymmetric, A^T J + J A = 0."""
    n = len(metric)
    a = torch.randn(n, n, generator=generator, dtype=torch.float64)
    return torch.matrix_exp(size * torch.linalg.inv(metric) @ (a - a.T) / 2)


def some_metric(n=3):
    """Indefinite, with no zeros."""
    generator = torch.Generator().manual_seed(5)
    q = torch.randn(n, n, generator=generator, dtype=torch.float64)
    return q @ torch.diag(torch.tensor([1.0, -1.0, 2.0]).double()) @ q.T


METRICS = {"minkowski": MINKOWSKI, "euclidean": torch.eye(3).double()}
METRICS |= {"learned": some_metric()}


def layer(metric=MINKOWSKI, **settings):
    """A layer in evaluation, that moves points by much."""
    torch.manual_seed(0)
    settings = {"hidden_channels": 6, "num_scalars": 2, "step": 1.0} | settings
    conv = randomize(InvariantMetricConv(4, metric, **settings)).double().eval()
    if conv.pos_mlp is not None:
        torch.nn.init.normal_(conv.pos_mlp[-1].weight)
    return conv


def points(n=4, dtype=torch.double):
    generator = torch.Generator().manual_seed(2)
    x, pos, scalars = (
        torch.randn(6, c, generator=generator, dtype=dtype) for c in (4, n, 2)
    )
    edge_index = torch.tensor([[1, 2, 0, 3, 1, 0, 4], [0, 0, 1, 1, 2, 3, 2]])
    return x, pos, edge_index, scalars


@pytest.mark.parametrize("several", [False, True])
def test_is_the_formula(several):
    x, pos, edge_index, scalars = points(3)
    metric = torch.stack([some_metric(), torch.eye(3).double()])
    metric = metric if several else metric[0]
    bound = 0.22
    conv = layer(metric, bound=bound)
    out, moved = conv(x, pos, edge_index, scalars)
    clamped = 0
    for i in range(6):
        total, shift, number = x.new_zeros(6), pos.new_zeros(3), 0
        for j in edge_index[0, edge_index[1] == i]:
            d = pos[i] - pos[j]
            seen = [d @ J @ d for J in metric.view(-1, 3, 3)]
            seen += [pos[i] @ J @ pos[j] for J in metric.view(-1, 3, 3)]
            psi = [s.sign() * math.log1p(abs(float(s))) for s in seen]
            m = conv.edge_mlp(torch.cat([x[i], x[j], torch.stack(psi)])[None])
            total = total + (torch.sigmoid(conv.gate(m)) * m)[0]
            weight = conv.pos_mlp(m)[0]
            clamped += int(weight.abs() > bound)
            shift, number = shift + d * weight.clamp(-bound, bound), number + 1
        inputs = torch.cat([x[i], total, scalars[i]])[None]
        torch.testing.assert_close(out[i], x[i] + conv.node_mlp(inputs)[0])
        torch.testing.assert_close(moved[i], pos[i] + shift / max(number, 1))
    assert 0 < clamped < 7


@pytest.mark.parametrize("name", METRICS)
def test_equivariance(name):
    """Also where the weights are clamped; of two layers in a row."""
    metric = METRICS[name]
    x, pos, edge_index, scalars = points(len(metric))
    generator = torch.Generator().manual_seed(0)
    for bound in (100.0, 0.02):
        convs = [layer(metric, bound=bound), layer(metric)]
        for _ in range(3):
            g = keeping(metric, generator, 1.5)
            assert (g - torch.eye(len(g))).abs().max() > 0.3
            h, p, k, q = x, pos, x, pos @ g.T
            for conv in convs:
                h, p = conv(h, p, edge_index, scalars)
                k, q = conv(k, q, edge_index, scalars)
            torch.testing.assert_close(k, h, rtol=0, atol=1e-10)
            torch.testing.assert_close(q, p @ g.T, rtol=0, atol=1e-10)
        assert (p - pos)[:4].norm(dim=1).min() > 1e-2


def test_other_maps_are_seen():
    x, pos, edge_index, scalars = points()
    out, _ = layer()(x, pos, edge_index, scalars)
    q, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))
    assert (layer()(x, pos @ q.T, edge_index, scalars)[0] - out).abs().max() > 1e-2


def test_single_precision():
    """Weights in float32; points stay in float64, and boosts in it change little."""
    x, pos, edge_index, scalars = points()
    conv = layer().float()
    x, scalars = x.float(), scalars.float()
    g = keeping(MINKOWSKI, torch.Generator().manual_seed(0), 2.0)
    out, moved = conv(x, pos, edge_index, scalars)
    other, image = conv(x, pos @ g.T, edge_index, scalars)
    assert out.dtype == torch.float32 and moved.dtype == torch.float64
    torch.testing.assert_close(other, out, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(image, moved @ g.T, rtol=1e-5, atol=1e-4)
    single, _ = conv(x, pos.float(), edge_index, scalars)
    torch.testing.assert_close(single, out, rtol=1e-4, atol=1e-4)


def test_metric_that_was_found():
    """Discovery's result as it is; the metric is saved, and follows the network."""
    spins = torch.zeros(3, 3, 3, dtype=torch.float64)
    for k, (i, j) in enumerate([(0, 1), (0, 2), (1, 2)]):
        spins[k, i, j], spins[k, j, i] = 1.0, -1.0
    found = invariant_metric(spins)
    conv = InvariantMetricConv(4, found)
    assert conv.metric.shape == (1, 3, 3)
    torch.testing.assert_close(conv.metric[0], torch.eye(3).double() / 3**0.5)
    assert torch.equal(InvariantMetricConv(4, found.metrics).metric, conv.metric)
    other = InvariantMetricConv(4, torch.ones(3, 3))
    other.load_state_dict(conv.state_dict())
    torch.testing.assert_close(other.metric, conv.metric.float())
    found.metric.zero_()
    assert conv.metric.any()
    assert str(conv) == "InvariantMetricConv(4, metric=(1, 3, 3), hidden_channels=4)"


def test_signed_log():
    s = torch.tensor([-3.0, -1e-9, 0.0, 1e-9, 7.0], dtype=torch.float64)
    expected = [math.copysign(math.log1p(abs(v)), v) for v in s.tolist()]
    assert signed_log(s).tolist() == pytest.approx(expected, rel=1e-14)
    s.requires_grad_()
    (slope,) = torch.autograd.grad(signed_log(s).sum(), s)
    assert slope.tolist() == pytest.approx([0.25, 1, 1, 1, 0.125])


def test_no_points_no_edges_and_lonely_points():
    x, pos, edge_index, scalars = points()
    for mode in (True, False):
        conv = layer().train(mode)
        nothing = conv(x[:0], pos[:0], edge_index[:, :0], scalars[:0])
        assert nothing[0].shape == (0, 4) and nothing[1].shape == (0, 4)
        out, moved = conv(x, pos, edge_index[:, :0], scalars)
        assert torch.equal(moved, pos) and out.isfinite().all()
    out, moved = conv(x, pos, edge_index, scalars)
    assert torch.equal(moved[5], pos[5])
    alone = conv(x[5:], pos[5:], edge_index[:, :0], scalars[5:])
    torch.testing.assert_close(alone[0][0], out[5])


def test_order_and_batches():
    x, pos, edge_index, scalars = points()
    conv = layer()
    out, moved = conv(x, pos, edge_index, scalars)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    place = order.argsort()
    other = conv(x[order], pos[order], place[edge_index], scalars[order])
    torch.testing.assert_close(other[0], out[order])
    torch.testing.assert_close(other[1], moved[order])
    both = [torch.cat([value, 2 * value]) for value in (x, pos, scalars)]
    edges = torch.cat([edge_index, edge_index + 6], dim=1)
    joined, shifted = conv(both[0], both[1], edges, both[2])
    torch.testing.assert_close(joined[:6], out)
    torch.testing.assert_close(shifted[:6], moved)


def test_gradients():
    """Right, and finite where points coincide, are zero or on the light cone."""
    x, pos, edge_index, scalars = points()
    conv = layer()
    assert torch.autograd.gradcheck(
        lambda a, b: conv(a, b, edge_index, scalars),
        (x.clone().requires_grad_(), pos.clone().requires_grad_()),
    )
    pos[0], pos[1], pos[2], pos[3] = 0, pos[2], pos[2], torch.tensor([5.0, 3, 0, 4])
    assert MINKOWSKI @ pos[3] @ pos[3] == 0
    pos.requires_grad_()
    out, moved = conv(x, pos, edge_index, scalars)
    (out.sum() + moved.sum()).backward()
    assert pos.grad.isfinite().all() and pos.grad.any()
    grads = [p.grad for p in conv.parameters()]
    assert all(grad.isfinite().all() for grad in grads)


def test_settings():
    x, pos, edge_index, _ = points()
    conv = layer(update_pos=False, num_scalars=0, norm=None)
    _, moved = conv(x, pos, edge_index)
    assert moved is pos and not any("norm" in name for name in conv.state_dict())
    before = [p.clone() for p in conv.parameters()]
    conv.reset_parameters()
    pairs = zip(before, conv.parameters(), strict=True)
    assert not any(torch.equal(*pair) for pair in pairs)
    moving = layer()
    moving.reset_parameters()
    assert moving.pos_mlp[-1].weight.abs().max() < 1e-2
    turned = layer(flow="target_to_source", update_pos=False, num_scalars=0)
    conv = layer(update_pos=False, num_scalars=0)
    other, _ = turned(x, pos, edge_index.flip(0))
    torch.testing.assert_close(other, conv(x, pos, edge_index)[0])


def test_compiles():
    x, pos, edge_index, scalars = points()
    conv = layer()
    compiled = torch.compile(conv, fullgraph=True, dynamic=True, backend="eager")
    found = compiled(x, pos, edge_index, scalars)
    for one, two in zip(found, conv(x, pos, edge_index, scalars), strict=True):
        torch.testing.assert_close(one, two)


SYMPLECTIC = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])


@pytest.mark.parametrize(
    "metric,error,message",
    [
        (SYMPLECTIC, ValueError, "'metric' is not symmetric: .* symplectic"),
        (torch.stack([torch.eye(2), SYMPLECTIC]), ValueError, "number 1, is not symm"),
        (torch.zeros(3, 3), ValueError, "'metric' is zero"),
        (torch.diag(torch.tensor([1.0, math.nan])), ValueError, "infinite or NaN"),
        (torch.ones(4, 3), ValueError, r"shape \(n, n\) or \(k, n, n\) \(got \(4, 3"),
        (torch.ones(3), ValueError, r"\(got \(3,\)\)"),
        (torch.ones(0, 0), ValueError, r"\(got \(0, 0\)\)"),
        (torch.eye(3).long(), TypeError, "floating-point tensor"),
        ([[1.0]], TypeError, r"have one as 'metric' \(got list\)"),
    ],
)
def test_metrics_that_are_none(metric, error, message):
    with pytest.raises(error, match=message):
        InvariantMetricConv(4, metric)


def test_bad_arguments():
    for wrong in (dict(hidden_channels=0), dict(num_scalars=-1), dict(bound=0.0)):
        with pytest.raises(ValueError, match=f"'{next(iter(wrong))}'"):
            InvariantMetricConv(4, MINKOWSKI, **wrong)
    with pytest.raises(ValueError, match="'in_channels' must be at least 1"):
        InvariantMetricConv(0, MINKOWSKI)
    with pytest.raises(ValueError, match="'norm' must be"):
        InvariantMetricConv(4, MINKOWSKI, norm="instance_norm")
    x, pos, edge_index, scalars = points()
    conv = layer()
    for given, message in (
        ((x[:, :3], pos, edge_index, scalars), "'x' has 3 channels .* built for 4"),
        ((x, pos[:, :3], edge_index, scalars), "'pos' has 3 channels"),
        ((x, pos, edge_index), "'node_attr' has 0 channels .* built for 2"),
        ((x, pos[:5], edge_index, scalars), r"a row for each point \(got 6, 5, 6\)"),
    ):
        with pytest.raises(ValueError, match=message):
            conv(*given)
