import pytest
import torch
from torch_geometric.nn import Linear

from lieconv_pyg.nn import linear
from lieconv_pyg.nn.linear import WideLinear


@pytest.fixture(params=[512, 768])
def pair(request):
    """Two layers with the same parameters, large enough for the fast path."""
    torch.manual_seed(0)
    wide, plain = WideLinear(640, request.param), Linear(640, request.param)
    plain.load_state_dict(wide.state_dict())
    return wide, plain


def derivatives(layer, x):
    out = layer(x)
    inputs = [x, layer.weight, layer.bias]
    first = torch.autograd.grad(out.sin().sum(), inputs, create_graph=True)
    second = torch.autograd.grad(first[0].square().sum(), inputs[:2])
    return out, *first, *second


@pytest.mark.skipif(not linear.has_onednn(), reason="torch was built without oneDNN")
def test_is_the_plain_layer(pair, monkeypatch):
    calls = []
    apply = linear._Product.apply
    monkeypatch.setattr(
        linear._Product, "apply", lambda *args: calls.append(1) or apply(*args)
    )
    x = torch.randn(300, 640, requires_grad=True)
    torch.testing.assert_close(
        derivatives(pair[0], x), derivatives(pair[1], x), rtol=1e-4, atol=1e-4
    )
    assert calls


@pytest.mark.parametrize("case", ["rows", "double", "shape", "autocast", "few weights"])
def test_other_cases_are_left_to_torch(pair, case, monkeypatch):
    monkeypatch.setattr(linear._Product, "apply", None)
    wide, plain = pair
    x = torch.randn(300, 640)
    if case == "rows":
        x = x[:3]
    elif case == "double":
        x, wide, plain = x.double(), wide.double(), plain.double()
    elif case == "shape":
        x = x.unsqueeze(0)
    elif case == "few weights":
        wide, x = WideLinear(64, 64), x[:, :64]
        plain = Linear(64, 64)
        plain.load_state_dict(wide.state_dict())
    with torch.autocast("cpu", torch.bfloat16, enabled=case == "autocast"):
        assert torch.equal(wide(x), plain(x))


def test_torch_func_and_compile(pair):
    x = torch.randn(300, 640)
    for function in (
        lambda layer: torch.func.grad(lambda x: layer(x).sin().sum())(x),
        lambda layer: torch.compile(layer, backend="aot_eager", fullgraph=True)(x),
    ):
        torch.testing.assert_close(function(pair[0]), function(pair[1]))
