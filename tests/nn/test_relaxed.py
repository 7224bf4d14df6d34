"""Relaxed layers: exact at first, and as far from it as the penalty says."""

import copy
import io
import pickle

import pytest
import torch

from lieconv_pyg import LieConv, lift
from lieconv_pyg.groups import (
    SE2,
    SE3,
    SO2,
    SO3,
    Lorentz,
    MatrixLieGroup,
    T,
    Trivial,
)
from lieconv_pyg.neighbors import radius_graph
from lieconv_pyg.nn import RelaxedLieConv, relaxation_penalty

from .conftest import make_lifted, make_points, randomize, transport

INF = float("inf")
SIDES = ["input", "output"]


def loosen(module, seed=5, size=0.3):
    """Deviations as after training."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, RelaxedLieConv):
            for p in layer.delta.lins[-1].parameters():
                p.data.copy_(size * torch.randn(p.shape, generator=generator))
    return module


def make(group, norm="batch_norm", dtype=torch.double, loose=True, **kwargs):
    torch.manual_seed(0)
    x, pos, batch = make_points(group, dtype=dtype)
    lifted = make_lifted(group, pos, batch)
    graph = radius_graph(group, lifted, INF)
    conv = randomize(RelaxedLieConv(3, 4, group, norm=norm, **kwargs)).to(dtype)
    conv = loosen(conv) if loose else conv
    if not loose:
        torch.nn.init.zeros_(conv.delta.lins[-1].bias)
    return conv.eval(), x[lifted.point], lifted, graph


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("num_banks", [1, 3])
def test_starts_as_the_layer_it_relaxes(group, num_banks, side):
    """Bit for bit, and so do the gradients and statistics that both have."""
    dtype = torch.float if num_banks == 1 else torch.double
    relaxed, x, lifted, graph = make(
        group, dtype=dtype, loose=False, num_banks=num_banks, side=side
    )
    plain = LieConv(3, 4, group).to(dtype)
    plain.load_state_dict(relaxed.conv.state_dict())
    weight = torch.rand(graph.edge_index.size(1), dtype=dtype)
    args = lifted, graph.edge_index
    for more in ((), (graph.edge_attr, weight)):
        out = relaxed.eval()(x, *args, *more)
        assert torch.equal(out, plain.eval()(x, *args, *more))
    shared = torch.stack([x, 2 * x])
    assert torch.equal(relaxed(shared, *args), plain(shared, *args))

    relaxed.train()(x, *args).sin().sum().backward()
    plain.train()(x, *args).sin().sum().backward()
    inner = dict(relaxed.conv.named_parameters())
    for name, p in plain.named_parameters():
        assert torch.equal(p.grad, inner[name].grad), name
    for name, value in plain.named_buffers():
        assert torch.equal(value, dict(relaxed.conv.named_buffers())[name])
    assert relaxed.delta.lins[-1].weight.grad.abs().max() > 0  # it will move


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("coordinates", ["log", "element"])
def test_formula(group, side, coordinates):
    """Bank by bank, one target at a time."""
    relaxed, x, lifted, graph = make(
        group, num_banks=3, side=side, coordinates=coordinates
    )
    u, q = lifted.element, lifted.orbit
    entries = group.lorentz_matrix(u) if isinstance(group, Lorentz) else u
    a = group.log(u) if coordinates == "log" else entries.flatten(1)
    delta = relaxed.delta(torch.cat([a, q], dim=1))
    w = delta + torch.tensor([1.0, 0.0, 0.0], dtype=delta.dtype)
    torch.testing.assert_close(relaxed.deviation(lifted), delta)
    out = relaxed(x, lifted, graph.edge_index)
    conv, banks = relaxed.conv, relaxed.banks
    for i in range(0, len(x), 3):
        near = (lifted.batch == lifted.batch[i]).nonzero().view(-1)
        total = torch.zeros(4, dtype=x.dtype)
        for j in near.tolist():
            log = group.log(group.compose(group.inverse(u[j]), u[i]))
            pair = torch.cat([log, q[i], q[j]]).unsqueeze(0)
            first = conv.lin.weight.view(4, 16, 3).mT
            kernels = [torch.einsum("oms,s->om", first, conv.kernel(pair)[0])]
            rest = banks.lin.weight
            shape = (4, 16, 2, 3) if side == "input" else (2, 4, 16, 3)
            rest = rest.view(shape).movedim(2 if side == "input" else 0, 0)
            for one in rest:
                kernels.append(torch.einsum("osm,s->om", one, banks.kernel(pair)[0]))
            at = j if side == "input" else i
            for weight, kernel in zip(w[at], kernels, strict=True):
                total = total + weight * kernel @ x[j]
        bias = conv.lin.bias * (w[i, 0] if side == "output" else 1)
        torch.testing.assert_close(out[i], total / len(near) + bias)


@pytest.mark.parametrize("side", SIDES)
def test_the_more_it_deviates_the_less_it_commutes(side):
    group = SE2()
    relaxed, x, lifted, graph = make(group, side=side, num_banks=2)
    moved, last = transport(group, lifted), relaxed.delta.lins[-1]
    errors, sizes, slopes = [], [], []
    for factor in (0.0, 0.01, 1.0):
        one = copy.deepcopy(relaxed)
        one.delta.lins[-1].load_state_dict(
            {name: factor * value for name, value in last.state_dict().items()}
        )
        out = one(x, lifted, graph.edge_index)
        change = out - one(x, moved, graph.edge_index)
        errors.append(float(change.detach().abs().max()))
        sizes.append(float(one.penalty(lifted).detach()))
        slopes.append(float(one.penalty(lifted, "derivative").detach()))
    assert errors[0] < 1e-12 and errors[1] > 1e-4 and errors[2] > 20 * errors[1]
    assert sizes == pytest.approx([0.0, 1e-4 * sizes[2], sizes[2]])
    assert slopes == pytest.approx([0.0, 1e-2 * slopes[2], slopes[2]])
    assert slopes[2] > 0.01


@pytest.mark.parametrize("coordinates", ["log", "element"])
def test_penalties(group, coordinates):
    """Against the definition, by finite differences."""
    relaxed, _, lifted, _ = make(group, num_banks=2, coordinates=coordinates)
    delta = relaxed.deviation(lifted)
    torch.testing.assert_close(relaxed.penalty(lifted), delta.square().mean())
    slopes, t = [], 1e-6
    for k in range(group.dim):
        a = torch.zeros(group.dim, dtype=delta.dtype)
        a[k] = t
        ahead, behind = (
            relaxed.deviation(
                lifted._replace(element=group.compose(group.exp(s * a), lifted.element))
            )
            for s in (1, -1)
        )
        slopes.append((ahead - behind) / (2 * t))
    slope = relaxed.penalty(lifted, "derivative")
    expected = torch.stack(slopes).abs().mean() if slopes else 0 * slope
    torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-8)


def test_weights_of_orbits_break_nothing():
    group = SO2()
    relaxed, x, lifted, graph = make(group, num_banks=2)
    relaxed.delta.lins[0].weight.data[:, 0] = 0  # blind to the angle
    moved = transport(group, lifted)
    out = relaxed(x, lifted, graph.edge_index)
    assert (out - relaxed(x, moved, graph.edge_index)).abs().max() < 1e-10
    assert relaxed.penalty(lifted) > 1e-3
    assert relaxed.penalty(lifted, "derivative") < 1e-12
    assert (out - relaxed.conv(x, lifted, graph.edge_index)).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["size", "derivative"])
@pytest.mark.parametrize(
    "group",
    [SE3(), SO3(), MatrixLieGroup(SE2().generators(torch.double), space_dim=2)],
    ids=["SE3", "SO3", "matrices"],
)
def test_gradients_of_penalties(group, kind):
    relaxed = loosen(
        RelaxedLieConv(3, 4, group, 2, delta_channels=(3,)).double(), size=1
    )
    u = group.sample(4, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    q = torch.rand(4, group.orbit_dim, dtype=torch.double)
    index = torch.arange(4)
    lifted = lift(T(1), q.new_zeros(4, 1))._replace(element=u, orbit=q, point=index)
    parameters = list(relaxed.delta.parameters())

    def penalty(*values):
        names = [name for name, _ in relaxed.named_parameters() if "delta" in name]
        return torch.func.functional_call(
            _Penalty(relaxed, kind),
            {f"layer.{n}": v for n, v in zip(names, values, strict=True)},
            (lifted,),
        )

    assert torch.autograd.gradcheck(penalty, parameters, fast_mode=True)


class _Penalty(torch.nn.Module):
    def __init__(self, layer, kind):
        super().__init__()
        self.layer, self.kind = layer, kind

    def forward(self, lifted):
        return self.layer.penalty(lifted, self.kind)


def test_penalties_at_the_start_and_of_the_identity_alone():
    relaxed, _, lifted, _ = make(SE2(), loose=False)
    for kind in ("size", "derivative"):
        value = relaxed.penalty(lifted, kind)
        assert value.eq(0)
        value.backward()
        grads = [p.grad for p in relaxed.delta.parameters() if p.grad is not None]
        assert grads and all(g.eq(0).all() for g in grads)
    trivial, _, lifted, _ = make(Trivial(2))
    slope = trivial.penalty(lifted, "derivative")
    slope.backward()
    assert slope.eq(0) and trivial.penalty(lifted) > 0


def test_half_turns():
    """The logarithm jumps there, the entries of the matrix do not."""
    group = SO2()
    angles = torch.tensor([torch.pi - 1e-6, torch.pi + 1e-6]).double()
    pos = torch.stack([angles.cos(), angles.sin()], dim=1)
    lifted = lift(group, pos)
    jumps = {}
    for coordinates in ("log", "element"):
        relaxed = make(group, coordinates=coordinates)[0]
        one, two = relaxed.deviation(lifted)
        jumps[coordinates] = float((one - two).abs().max().detach())
    assert jumps["element"] < 1e-5 < 1e-3 < jumps["log"]


@pytest.mark.parametrize("coordinates", ["log", "element"])
def test_two_matrices_of_one_element(coordinates):
    """Spinors A and -A are the same Lorentz transformation."""
    relaxed, _, lifted, _ = make(Lorentz(), num_banks=2, coordinates=coordinates)
    other = lifted._replace(element=-lifted.element)
    torch.testing.assert_close(relaxed.deviation(other), relaxed.deviation(lifted))


@pytest.mark.parametrize("side", SIDES)
def test_bipartite(side):
    group = SE3()
    relaxed, x, lifted, graph = make(group, side=side, num_banks=2)
    keep = torch.arange(0, len(x), 3)
    kept = lifted.select(keep)
    some = radius_graph(group, lifted, INF, kept)
    expected = relaxed(x, lifted, graph.edge_index)[keep]
    for pair in ((x, None), (x, x[keep])):
        for attr in (None, some.edge_attr):
            out = relaxed(pair, (lifted, kept), some.edge_index, attr)
            torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("side", SIDES)
def test_shared_points_and_edges_in_another_order(side):
    relaxed, x, lifted, graph = make(SE2(), side=side, num_banks=2)
    several = torch.stack([x, x.flip(0), 2 * x])
    out = relaxed(several, lifted, graph.edge_index, graph.edge_attr)
    each = [relaxed(one, lifted, graph.edge_index) for one in several]
    torch.testing.assert_close(out, torch.stack(each))
    shuffled = torch.randperm(graph.edge_index.size(1))
    again = relaxed(x, lifted, graph.edge_index[:, shuffled], graph.edge_attr[shuffled])
    torch.testing.assert_close(out[0], again)


@pytest.mark.parametrize("side", SIDES)
def test_no_points_and_no_edges(side):
    relaxed, x, lifted, _ = make(T(3), side=side, num_banks=3)
    none = torch.empty(2, 0, dtype=torch.long)
    assert relaxed(x, lifted, none).isfinite().all()
    empty = lifted.select(none[0])
    assert relaxed(x[:0], empty, none).shape == (0, 4)


def test_compile_and_autocast():
    relaxed, x, lifted, graph = make(T(3), dtype=torch.float, num_banks=2)
    args = (x, lifted, graph.edge_index, graph.edge_attr)
    expected = relaxed(*args)
    compiled = torch.compile(relaxed, fullgraph=True, dynamic=True, backend="eager")
    torch.testing.assert_close(compiled(*args), expected, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        out = relaxed(*args)
        out.sum().backward()
        penalty = relaxed.penalty(lifted)
    torch.testing.assert_close(out.float(), expected, rtol=0.1, atol=0.1)
    torch.testing.assert_close(
        penalty.float(), relaxed.penalty(lifted), rtol=0.05, atol=0.01
    )


@pytest.mark.parametrize("side", SIDES)
def test_export(side):
    relaxed, x, lifted, graph = make(T(3), dtype=torch.float, side=side, num_banks=2)
    args = (x, lifted, graph.edge_index, graph.edge_attr)
    program = torch.export.export(relaxed, args, strict=False)
    torch.testing.assert_close(program.module()(*args), relaxed(*args))


def test_copies_and_reset():
    relaxed, x, lifted, graph = make(SE3(), num_banks=2)
    expected = relaxed(x, lifted, graph.edge_index)
    buffer = io.BytesIO()
    torch.save(relaxed.state_dict(), buffer)
    buffer.seek(0)
    other = RelaxedLieConv(3, 4, SE3(), 2).double().eval()
    other.load_state_dict(torch.load(buffer, weights_only=True))
    for copied in (copy.deepcopy(relaxed), pickle.loads(pickle.dumps(relaxed)), other):
        assert copied(x, lifted, graph.edge_index).equal(expected)
    other.reset_parameters()
    assert other.penalty(lifted) == 0
    assert not other.conv.lin.weight.equal(relaxed.conv.lin.weight)
    assert not other.banks.lin.weight.equal(relaxed.banks.lin.weight)
    text = "RelaxedLieConv(3, 4, group=SE3(alpha=0.2), num_banks=2, side='input')"
    assert str(relaxed) == text


def test_channels_from_the_first_input():
    _, x, lifted, graph = make(T(2))
    for side in SIDES:
        relaxed = loosen(RelaxedLieConv(-1, 4, T(2), 3, side=side).double())
        assert relaxed(x, lifted, graph.edge_index).shape == (len(x), 4)
        width = {"input": 6, "output": 3}[side] * 16
        assert relaxed.banks.lin.weight.size(1) == width


@pytest.mark.parametrize(
    "kwargs,match",
    [
        (dict(side="both"), "'side' must be 'input' or 'output'"),
        (dict(coordinates="pos"), "'coordinates' must be 'log' or 'element'"),
        (dict(num_banks=0), "'num_banks' must be at least 1"),
        (dict(in_channels=0), "'in_channels' must be at least 1"),
        (dict(delta_channels=(8, 0)), "'delta_channels' must be at least 1"),
        (dict(aggr="max"), "'aggr' must be"),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value),
)
def test_bad_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match):
        RelaxedLieConv(**(dict(in_channels=2, out_channels=2, group=T(2)) | kwargs))


def test_bad_input():
    relaxed, x, lifted, graph = make(T(2), num_banks=2)
    with pytest.raises(ValueError, match=r"x\[lifted.point\]"):
        relaxed(x[:4], lifted, graph.edge_index)
    with pytest.raises(TypeError, match="Lifted"):
        relaxed(x, x, graph.edge_index)
    with pytest.raises(ValueError, match="'kind' must be 'size' or 'derivative'"):
        relaxed.penalty(lifted, "slope")
    with pytest.raises(TypeError, match="'lifted' must be a 'Lifted', such as"):
        relaxation_penalty(relaxed, x)
    with pytest.raises(ValueError, match="'model' has no 'RelaxedLieConv'"):
        relaxation_penalty(relaxed.conv, lifted)
