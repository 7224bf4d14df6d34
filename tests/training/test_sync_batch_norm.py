import itertools

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch_geometric.nn import BatchNorm

from lieconv_pyg.groups import T
from lieconv_pyg.nn import MoleculeLieResNet
from lieconv_pyg.training.sync_batch_norm import BatchNormSync, SyncBatchNorm1d

# Rows of each process, size of each, arguments
CASES = {
    "equal": ((6, 6), (5,), {}),
    "unequal": ((9, 4), (5,), {}),
    "none": ((7, 0), (5,), {}),
    "one each": ((1, 1), (5,), {}),
    "three dimensions": ((3, 2), (5, 4), {}),
    "mean of all": ((4, 3), (5,), {"momentum": None}),
    "not affine": ((4, 3), (5,), {"affine": False}),
    "no running statistics": ((4, 3), (5,), {"track_running_stats": False}),
}


def layer(cls, kwargs):
    norm = cls(5, **kwargs).double()
    if norm.affine:
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(0.5, 2, 5))
            norm.bias.copy_(torch.linspace(-1, 1, 5))
    return norm


def rows(case, batch):
    (first, second), size, _ = CASES[case]
    generator = torch.Generator().manual_seed(batch)
    x = torch.randn(first + second, *size, generator=generator, dtype=torch.double)
    return 3 * x + 10


def everything(norm, batches):
    """Outputs, gradients, second gradients, of some batches."""
    found = {"y": [], "x": [], "xx": []}
    for x in batches:
        x.requires_grad_()
        y = norm(x)
        loss = (y.sin() * torch.linspace(1, 2, 5).view(-1, *[1] * (x.dim() - 2))).sum()
        (grad,) = torch.autograd.grad(loss, x, create_graph=True)
        (second,) = torch.autograd.grad(grad.square().sum(), x, retain_graph=True)
        loss.backward()
        for key, value in zip(found, (y, x.grad, second), strict=True):
            found[key].append(value.detach())
    found["parameters"] = [p.grad for p in norm.parameters()]
    found["state"] = {key: value.clone() for key, value in norm.state_dict().items()}
    found["eval"] = norm.eval()(batches[0]).detach()
    return found


def single_rows(rank):
    """One row in all, with running statistics and without."""
    wrapped = nn.Sequential(BatchNorm(5, allow_single_element=True), nn.Identity())
    BatchNormSync().apply(wrapped)
    x = torch.full((1 - rank, 5), 3.0, requires_grad=True)
    y = wrapped(x)
    y.sum().backward()
    several = wrapped(torch.arange(5 * (2 - rank)).view(-1, 5).float())
    with pytest.raises(ValueError, match="more than 1 row over all processes, got 1"):
        SyncBatchNorm1d(5)(x)
    return y.detach(), x.grad, several.detach(), wrapped[0].module.running_mean


def process(rank, folder):
    file = f"file://{folder}/meet"
    dist.init_process_group("gloo", init_method=file, rank=rank, world_size=2)
    found = {}
    for case, ((first, _), _, kwargs) in CASES.items():
        share = slice(None, first) if rank == 0 else slice(first, None)
        batches = [rows(case, batch)[share] for batch in range(2)]
        found[case] = everything(layer(SyncBatchNorm1d, kwargs), batches)
    found["single"] = single_rows(rank)
    found["half"] = SyncBatchNorm1d(5)(rows("equal", rank).bfloat16()).detach()
    # E[x²] − E[x]² has no digit left.
    far = rows("equal", 0)[6 * rank : 6 * rank + 6].float() + 1e5
    found["far"] = (far, SyncBatchNorm1d(5)(far).detach())
    torch.save(found, f"{folder}/{rank}")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    mp.spawn(process, (str(folder),), nprocs=2)
    return [torch.load(folder / str(rank)) for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_are_one(found, case):
    kwargs = CASES[case][-1]
    batches = [rows(case, batch) for batch in range(2)]
    whole = everything(layer(nn.BatchNorm1d, kwargs), batches)
    first, second = (f[case] for f in found)
    close = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(first["state"], second["state"], rtol=0, atol=0)
    torch.testing.assert_close(first["state"], whole["state"], **close)
    for key, batch in itertools.product(("y", "x", "xx"), range(2)):
        got = torch.cat([first[key][batch], second[key][batch]])
        expected = whole[key][batch]
        scale = expected.abs().max().clamp(min=1)
        torch.testing.assert_close(got / scale, expected / scale, **close)
    got = [
        a + b for a, b in zip(first["parameters"], second["parameters"], strict=True)
    ]
    torch.testing.assert_close(got, whole["parameters"], **close)
    if "track_running_stats" not in kwargs:
        got = torch.cat([first["eval"], second["eval"]])
        torch.testing.assert_close(got, whole["eval"], **close)


def test_a_single_row_in_all(found):
    (y, grad, several, mean), (none, _, other, _) = (f["single"] for f in found)
    expected = torch.full((1, 5), 3 / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(grad, expected / 3)
    assert none.shape == (0, 5)
    # Two rows on one process, one on the other: not a single one.
    x = torch.cat([torch.arange(10.0), torch.arange(5.0)]).view(3, 5)
    norm = nn.BatchNorm1d(5)
    torch.testing.assert_close(torch.cat([several, other]), norm(x).detach())
    torch.testing.assert_close(mean, norm.running_mean)


def test_precisions(found):
    half = torch.cat([f["half"] for f in found])
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float().mean(0), torch.zeros(5), rtol=0, atol=0.02)
    far, y = (
        torch.cat(parts) for parts in zip(*(f["far"] for f in found), strict=True)
    )
    expected = nn.BatchNorm1d(5).double()(far.double()).float()
    torch.testing.assert_close(y, expected, rtol=0, atol=0.01)


def network():
    torch.manual_seed(0)
    return MoleculeLieResNet(T(3), hidden_channels=8, num_layers=1)


def test_plugin_keeps_everything():
    net, plugin = network(), BatchNormSync()
    state, parameters = net.state_dict(), list(net.parameters())
    flags = [m.allow_single_element for m in net.modules() if isinstance(m, BatchNorm)]
    before = str(net)
    plugin.apply(net)
    kinds = [type(m) for m in net.modules() if isinstance(m, nn.BatchNorm1d)]
    assert kinds and set(kinds) == {SyncBatchNorm1d}
    assert not any(
        m.allow_single_element for m in net.modules() if isinstance(m, BatchNorm)
    )
    assert list(net.state_dict()) == list(state)
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))

    z, pos = torch.tensor([8, 1, 1]), torch.randn(3, 3)
    plain = network()
    for mode in (True, False):
        net.train(mode), plain.train(mode)
        torch.manual_seed(1)
        expected = plain(z, pos)
        torch.manual_seed(1)
        assert torch.equal(net(z, pos), expected)

    plugin.revert(net)
    kinds = [type(m) for m in net.modules() if isinstance(m, nn.BatchNorm1d)]
    assert set(kinds) == {nn.BatchNorm1d}
    after = [m.allow_single_element for m in net.modules() if isinstance(m, BatchNorm)]
    assert after == flags
    assert str(net) == before
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))


def test_a_shared_batch_norm_stays_shared():
    norm = nn.BatchNorm1d(3).eval()
    norm.weight.requires_grad_(False)
    net = nn.ModuleList([nn.Sequential(norm), nn.Sequential(norm), nn.BatchNorm2d(3)])
    BatchNormSync().apply(net)
    assert net[0][0] is net[1][0]
    assert isinstance(net[0][0], SyncBatchNorm1d) and not net[0][0].training
    assert net[0][0].weight is norm.weight
    assert type(net[2]) is nn.BatchNorm2d


def test_single_rows_without_processes():
    wrapped = nn.Sequential(BatchNorm(5, allow_single_element=True))
    expected = wrapped(torch.ones(1, 5))
    BatchNormSync().apply(wrapped)
    assert torch.equal(wrapped(torch.ones(1, 5)), expected)
    with pytest.raises(ValueError, match="more than 1 value"):
        SyncBatchNorm1d(5)(torch.ones(1, 5))
