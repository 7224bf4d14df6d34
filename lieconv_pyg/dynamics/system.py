"""Physical systems: a Hamiltonian, and where its particles begin."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from lieconv_pyg.dynamics.hamiltonian import SeparableDynamics
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.neighbors.layout import example_pairs


class System(SeparableDynamics):
    r"""A system of particles with a known Hamiltonian.

    A new one costs its potential and its initial states:

    .. code-block:: python

        class Oscillators(System):
            param_names = ("mass", "stiffness")

            def potential(self, x, pos, batch, batch_size):
                energy = 0.5 * x[:, 1] * pos.square().sum(1)
                return scatter(energy, batch, 0, batch_size, "sum")

            def draw(self, num_particles, generator):
                shape = (num_particles, self.space_dim)
                q, p = torch.randn(2, *shape, generator=generator, dtype=torch.double)
                return torch.ones(num_particles, 2, dtype=torch.double), q, p

    Where the kinetic energy is another one, :meth:`hamiltonian` is to be given too.

    Args:
        space_dim (int, optional): Dimension of space. (default: :obj:`2`)
        num_particles (int or Sequence[int], optional): Number of particles of the
            systems that are drawn, or several to choose from. (default: :obj:`6`)
    """

    #: What the columns of :obj:`x` are.
    param_names: tuple[str, ...] = ("mass",)
    #: Seconds between two states, and number of states, of a trajectory.
    step: float = 0.01
    num_states: int = 500
    #: Whether moving, or turning about the origin, all particles changes no energy.
    translations: bool = False
    rotations: bool = False

    def __init__(
        self, space_dim: int = 2, num_particles: int | Sequence[int] = 6
    ) -> None:
        super().__init__(space_dim, len(self.param_names))
        sizes = [num_particles] if isinstance(num_particles, int) else num_particles
        self.sizes = tuple(positive(n, "num_particles") for n in sizes)
        if not self.sizes:
            raise ValueError("'num_particles' is empty: give a number, or several")

    @abstractmethod
    def draw(
        self, num_particles: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Parameters, positions and momenta of one system, in double precision."""

    def sample(self, num_systems: int, seed: int = 0, stream: int = 0) -> list[Data]:
        r"""Draws systems with :obj:`x`, :obj:`pos` and :obj:`momentum`.

        The n-th system is the same however many are drawn.

        Args:
            num_systems: How many.
            seed: The seed.
            stream: Another number, other systems.
        """
        generator = torch.Generator()
        found = []
        for index in range(positive(num_systems, "num_systems")):
            state = np.random.SeedSequence([seed, stream, index]).generate_state(2)
            generator.manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)
            choice = torch.randint(len(self.sizes), (), generator=generator)
            x, pos, momentum = self.draw(self.sizes[int(choice)], generator)
            found.append(Data(x=x, pos=pos, momentum=momentum))
        return found

    def settings(self) -> dict[str, Any]:
        """What makes the systems what they are, as plain values."""
        sizes: Any = self.sizes[0] if len(self.sizes) == 1 else list(self.sizes)
        return {
            "system": type(self).__name__,
            "space_dim": self.space_dim,
            "num_particles": sizes,
        }

    def __repr__(self) -> str:
        settings = self.settings()
        name = settings.pop("system")
        return f"{name}({', '.join(f'{k}={v!r}' for k, v in settings.items())})"


def check_apart(pos: Tensor, batch: Tensor) -> None:
    r"""Checks that no two particles of a system are at the same place.

    Raises:
        ValueError: If two are.
    """
    j, i = example_pairs(batch)
    same = (pos[i] == pos[j]).all(1).nonzero().view(-1)
    if same.numel():
        first, second = sorted((int(i[same[0]]), int(j[same[0]])))
        raise ValueError(
            f"the particles {first} and {second} of system {int(batch[first])} are at "
            f"the same place, where their energy is infinite: move one, or give a "
            f"'softening'"
        )
