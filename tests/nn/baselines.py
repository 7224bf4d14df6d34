"""What every network for molecules must keep, for its tests."""

import torch


def molecules():
    """Three molecules, the second of a single atom."""
    generator = torch.Generator().manual_seed(0)
    batch = torch.tensor([0] * 5 + [1] + [2] * 4)
    z = torch.tensor([6, 1, 1, 1, 94, 2, 8, 8, 1, 1])
    pos = torch.randn(10, 3, generator=generator, dtype=torch.float64)
    return z, pos, batch


def rotation(n=3, sign=1):
    """A random orthogonal matrix with this determinant."""
    generator = torch.Generator().manual_seed(1)
    q, _ = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))
    q[0] *= sign * torch.linalg.det(q).sign()
    return q


def check_network(network):
    """Motions and mirrors, order of the atoms, and batches change nothing; another
    shape does."""
    z, pos, batch = molecules()
    out = network(z, pos, batch)
    assert out.size(0) == 3 and out.dim() == 2 and out.dtype == torch.float64

    def same(found, wanted=out):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)

    for sign in (1, -1):
        same(network(z, pos @ rotation(sign=sign).T + 1.0, batch))
    assert not torch.allclose(network(z, 1.1 * pos, batch), out, rtol=0, atol=1e-6)
    order = torch.tensor([3, 1, 4, 0, 2, 5, 9, 7, 8, 6])
    same(network(z[order], pos[order], batch[order]))
    for i in range(3):
        one = batch == i
        same(network(z[one], pos[one]), out[i : i + 1])
