import pytest
import torch

from lieconv_pyg.groups import Lorentz, group_resolver
from lieconv_pyg.lifting import lift

NAMES = [
    "Trivial2",
    "Trivial3",
    "T2",
    "T3",
    "Tx",
    "Ty",
    "SO2",
    "RxSO2",
    "Rx",
    "SQ",
    "RxSQ",
    "SE2",
    "SIM2",
    "SO3",
    "SE3",
    "Lorentz",
    "Galilei2",
]


@pytest.fixture(autouse=True)
def _compile_afresh():
    torch._dynamo.reset()


@pytest.fixture(params=NAMES)
def group(request):
    # With beta = 0, the lifts of one momentum are equally far from everything.
    arguments = {"beta": 0.3} if request.param == "Lorentz" else {}
    return group_resolver(request.param, **arguments)


def make_points(group, sizes=(5, 1, 7), dtype=torch.double, channels=3, seed=0):
    """Features, points (where every lift is defined) and batch vector."""
    generator = torch.Generator().manual_seed(seed)
    num_points = sum(sizes)
    pos = torch.rand(num_points, group.space_dim, generator=generator) + 0.2
    if isinstance(group, Lorentz):  # massive: above the light cone
        pos[:, 0] = (pos.square().sum(dim=1)).sqrt()
    x = torch.randn(num_points, channels, generator=generator)
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return x.to(dtype), pos.to(dtype), batch


def num_lifts_of(group):
    return 3 if group.stabilizer_dim > 0 else 1


def make_lifted(group, pos, batch, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return lift(group, pos, batch, num_lifts_of(group), generator=generator)


def transport(group, lifted, seed=2):
    """The lifted points moved by a random group element."""
    generator = torch.Generator().manual_seed(seed)
    g = group.sample(1, generator=generator, dtype=lifted.element.dtype)
    return lifted._replace(element=group.compose(g, lifted.element))


def randomize(module, seed=3):
    """Normalizations as after training: nothing at its initial value."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in module.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            value.copy_(0.3 * torch.randn(value.shape, generator=generator))
        elif name.endswith("running_var"):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    return module


def four_poses(group):
    """The same clouds in four poses: features, points, batch vector, and the first
    coordinate of the first point of each."""
    x, pos, _ = make_points(group, (4,) * 4)
    turns = group.stabilizer_grid(4, dtype=pos.dtype).unsqueeze(1)
    pos, x = group.act(turns, pos).flatten(0, 1), x.repeat(4, 1)
    batch = torch.arange(16).repeat_interleave(4)
    y = pos.view(16, 4, 2)[:, 0, :1]
    return x, pos, batch, y
