import pytest
import torch
from scipy.linalg import expm

from lieconv_pyg.groups.minkowski import from_rest_frame, to_rest_frame


def some(num=5, mass=2.0):
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(num, 3, generator=generator, dtype=torch.float64)
    energy = (p.square().sum(1, keepdim=True) + mass**2).sqrt()
    return torch.cat([energy, p], dim=1)


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_boosts_are_the_exponential(scale):
    frame, p = some(), some(5, 0.0)
    frame[:, 1:] *= scale
    frame[:, 0] = (frame[:, 1:].square().sum(1) + 4).sqrt()
    for number in range(5):
        total = frame[number, 1:]
        rapidity = torch.asinh(total.norm() / 2)
        a = torch.zeros(4, 4).double()
        a[0, 1:] = a[1:, 0] = rapidity * total / total.norm().clamp(min=1e-300)
        wanted = torch.from_numpy(expm(a.numpy())) @ p[number]
        found = from_rest_frame(p[number], frame[number])
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        to_rest_frame(from_rest_frame(p, frame), frame), p, rtol=1e-9, atol=1e-9
    )


def test_a_frame_is_at_rest_in_itself():
    frame = some()
    rest = torch.tensor([2.0, 0, 0, 0]).double().expand(5, 4)
    torch.testing.assert_close(to_rest_frame(frame, frame), rest)
    torch.testing.assert_close(from_rest_frame(rest, frame), frame)
