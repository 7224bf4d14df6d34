"""Point clouds with few and with many symmetries."""

import torch
from ase.build import molecule
from torch import Tensor


def atoms(name: str) -> Tensor:
    return torch.from_numpy(molecule(name).positions)


def square_grid(size: int, dim: int) -> Tensor:
    line = torch.arange(float(size), dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    return grid if dim == 2 else torch.cat([grid, torch.zeros(len(grid), 1)], dim=1)


def generic(num_points: int, dim: int, seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(num_points, dim, generator=source, dtype=torch.float64)


# Name: points, number of frames.
SPACE = {
    "generic": (generic(9, 3), 4),
    "generic, 3 points": (generic(3, 3), 4),
    "water (planar)": (atoms("H2O"), 4),
    "chiral": (atoms("CH3CH2OH"), 4),
    "ammonia": (atoms("NH3"), 6),
    "methane": (atoms("CH4"), 12),
    "benzene": (atoms("C6H6"), 24),
    "SF6": (
        torch.cat([torch.zeros(1, 3), torch.eye(3), -torch.eye(3)]).double(),
        24,
    ),
    "square": (square_grid(3, 3), 8),
    "two places": (generic(2, 3)[[0, 0, 1, 1, 1]], 2),
    "cube with double corners": (
        torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3).double().repeat(2, 1),
        None,
    ),
    "carbon dioxide (linear)": (atoms("CO2"), 2),
    "acetylene (linear)": (atoms("C2H2"), 2),
    "hydrogen cyanide (linear)": (atoms("HCN"), 2),
    "two atoms": (atoms("H2"), 2),
    "one atom": (torch.tensor([[0.3, -1.2, 0.7]], dtype=torch.float64), 1),
    "one place": (torch.tensor([[0.3, -1.2, 0.7]] * 4, dtype=torch.float64), 1),
}
PLANE = {
    "generic": (generic(9, 2), 2),
    "two points": (generic(2, 2), 2),
    "line": (generic(4, 1) * torch.tensor([[0.6, 0.8]]).double() + 0.3, 2),
    "triangle": (
        torch.tensor([[0.0, 1.0], [-(0.75**0.5), -0.5], [0.75**0.5, -0.5]]).double(),
        3,
    ),
    "square grid": (square_grid(5, 2), 4),
    "one point": (torch.tensor([[0.3, -1.2]], dtype=torch.float64), 1),
    "one place": (torch.tensor([[0.3, -1.2]] * 3, dtype=torch.float64), 1),
}
# Shapes whose frames are not fixed altogether: their coordinates in a frame are.
LOOSE = {
    "two places",
    "carbon dioxide (linear)",
    "acetylene (linear)",
    "hydrogen cyanide (linear)",
    "two atoms",
    "one atom",
    "one place",
    "one point",
}
CASES = [
    *((name, 3, *value) for name, value in SPACE.items()),
    *((name, 2, *value) for name, value in PLANE.items()),
]
IDS = [f"{case[0]}, {case[1]}D" for case in CASES]


def rigid_motion(dim: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(dim, dim, generator=source, dtype=torch.float64))
    q[:, 0] *= torch.linalg.det(q)
    return q, 3 * torch.randn(dim, generator=source, dtype=torch.float64)


def same_set(first: Tensor, second: Tensor, tolerance: float) -> bool:
    """Whether the rows of two tensors are the same up to order."""
    if first.shape != second.shape:
        return False
    rest = list(second)
    for row in first:
        gaps = torch.stack([(row - other).abs().max() for other in rest])
        best = int(gaps.argmin())
        if gaps[best] > tolerance:
            return False
        rest.pop(best)
    return True
