"""Jets and frames, for tests of networks for jets."""

import torch


def jets(sizes=(7, 3, 12), mass=0.0, seed=0):
    """Four-momenta of collimated jets, and the batch vector."""
    generator = torch.Generator().manual_seed(seed)
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    axes = torch.randn(len(sizes), 3, generator=generator, dtype=torch.float64)
    axes = axes / axes.norm(dim=1, keepdim=True)
    p = torch.randn(len(batch), 3, generator=generator, dtype=torch.float64)
    p = p + 3 * axes[batch]
    m = mass * torch.rand(len(batch), generator=generator, dtype=torch.float64)
    energy = (p.square().sum(1) + m.square()).sqrt()
    return torch.cat([energy[:, None], p], dim=1), batch


def boost(rapidity, seed=0):
    """A boost in a random direction, after a random rotation."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.zeros(4, 4, dtype=torch.float64)
    n = torch.randn(3, generator=generator, dtype=torch.float64)
    a[0, 1:] = a[1:, 0] = rapidity * n / n.norm()
    turn = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    r = torch.zeros(4, 4, dtype=torch.float64)
    r[1:, 1:] = turn - turn.T
    return torch.matrix_exp(a) @ torch.matrix_exp(r)
