"""Dynamics of particles: time derivatives of a state, from a Hamiltonian or not."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from lieconv_pyg.groups.checks import positive


class Dynamics(torch.nn.Module, ABC):
    r"""Gives the time derivative of the state of particles, true or learned.

    A state is the positions :math:`q` and momenta :math:`p` of the particles of all
    systems of a batch, one after the other, of any number each. What does not change in
    time is :math:`x`, the parameters of each particle, of which the first is its mass.

    Shapes:
        - **input:** parameters :math:`(N, F)`, positions :math:`(N, d)`, momenta
          :math:`(N, d)`, batch vector :math:`(N)` *(optional)*
        - **output:** :math:`\dot q` and :math:`\dot p`, both :math:`(N, d)`

    Args:
        space_dim (int, optional): Dimension :math:`d` of space. (default: :obj:`2`)
        num_params (int, optional): Number :math:`F` of parameters of a particle.
            (default: :obj:`2`)
        num_particles (int, optional): Number of particles of every system, where it is
            fixed. (default: :obj:`None`)
        center (bool, optional): Whether the mean of the positions of a system is
            subtracted before they are used. (default: :obj:`False`)
    """

    def __init__(
        self,
        space_dim: int = 2,
        num_params: int = 2,
        num_particles: int | None = None,
        center: bool = False,
    ) -> None:
        super().__init__()
        self.space_dim = positive(space_dim, "space_dim")
        self.num_params = positive(num_params, "num_params")
        if num_particles is not None:
            positive(num_particles, "num_particles")
        self.num_particles = num_particles
        self.center = center

    def forward(
        self,
        x: Tensor,
        pos: Tensor,
        momentum: Tensor,
        batch: Tensor | None = None,
        batch_size: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        r"""The derivative of a state.

        Args:
            x: Parameters :math:`(N, F)` of the particles.
            pos: Positions :math:`(N, d)`.
            momentum: Momenta :math:`(N, d)`.
            batch: The system of each particle :math:`(N)`, non-decreasing.
            batch_size: Number of systems, if it is known.
        """
        self.check_shapes(x, pos, momentum)
        batch = one_system(pos) if batch is None else batch
        if batch_size is None:
            batch_size = int(batch[-1]) + 1
        return self.derivative(x, pos, momentum, batch, batch_size)

    @abstractmethod
    def derivative(
        self, x: Tensor, pos: Tensor, momentum: Tensor, batch: Tensor, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        """What :meth:`forward` returns."""

    @property
    def is_separable(self) -> bool:
        """Whether the energy is a kinetic one, of momenta, plus a potential."""
        return False

    def centered(self, pos: Tensor, batch: Tensor, batch_size: int) -> Tensor:
        """Positions less the mean of their system, with :obj:`center`."""
        return centered(pos, batch, batch_size) if self.center else pos

    def check_shapes(self, x: Tensor, pos: Tensor, momentum: Tensor) -> None:
        r"""Checks what needs no look at the numbers of a state.

        Raises:
            TypeError: If an argument is not a tensor of floating-point numbers, or not
                of the precision of the network.
            ValueError: If shapes do not fit each other or what this was built for.
        """
        dtype = next((p.dtype for p in self.parameters()), pos.dtype)
        for name, value, width, wanted in (
            ("x", x, self.num_params, "parameters"),
            ("pos", pos, self.space_dim, "coordinates"),
            ("momentum", momentum, self.space_dim, "coordinates"),
        ):
            if not isinstance(value, Tensor) or not value.is_floating_point():
                raise TypeError(f"'{name}' must be a floating-point tensor")
            if value.dim() != 2 or value.size(1) != width:
                raise ValueError(
                    f"'{name}' must be of shape (particles, {width}): {self} was built "
                    f"for {width} {wanted} of each particle "
                    f"(got {tuple(value.shape)})"
                )
            if value.size(0) == 0 or value.size(0) != x.size(0):
                raise ValueError(
                    f"'x', 'pos' and 'momentum' must have one row for each particle "
                    f"(got {x.size(0)}, {pos.size(0)} and {momentum.size(0)})"
                )
            if value.dtype != dtype:
                raise TypeError(f"'{name}' is {value.dtype}, and {self} is {dtype}")

    def check(
        self, x: Tensor, pos: Tensor, momentum: Tensor, batch: Tensor | None = None
    ) -> Tensor:
        r"""Checks a state.

        Returns:
            torch.Tensor: The batch vector.

        Raises:
            TypeError: As :meth:`check_shapes`, or if :obj:`batch` is not of integers.
            ValueError: As there; if numbers are not finite, or masses not positive.
        """
        self.check_shapes(x, pos, momentum)
        for name, value in {"x": x, "pos": pos, "momentum": momentum}.items():
            bad = int((~value.isfinite()).any(1).sum())
            if bad:
                raise ValueError(
                    f"'{name}' has NaN or infinite numbers in {bad} of "
                    f"{value.size(0)} particles"
                )
        lightest = float(x[:, 0].min())
        if not lightest > 0:
            raise ValueError(
                f"masses, the first column of 'x', must be positive (got {lightest:g})"
            )
        batch = one_system(pos) if batch is None else batch
        if batch.dtype != torch.long:
            raise TypeError(
                f"'batch' must be a tensor of torch.long (got {batch.dtype})"
            )
        if batch.shape != (pos.size(0),) or bool((batch[1:] < batch[:-1]).any()):
            raise ValueError(
                f"'batch' must be the system of each of {pos.size(0)} particles, "
                f"non-decreasing"
            )
        count = torch.bincount(batch)
        if self.num_particles and bool((count != self.num_particles).any()):
            raise ValueError(
                f"{self} was built for systems of {self.num_particles} particles (got "
                f"{sorted(set(count.tolist()))})"
            )
        return batch


class HamiltonianDynamics(Dynamics):
    r"""The dynamics of a Hamiltonian :math:`H`,

    .. math::
        \dot q = \frac{\partial H}{\partial p}, \qquad
        \dot p = -\frac{\partial H}{\partial q},

    differentiable in its turn where gradients are enabled. A subclass gives
    :meth:`hamiltonian`.
    """

    @abstractmethod
    def hamiltonian(
        self, x: Tensor, pos: Tensor, momentum: Tensor, batch: Tensor, batch_size: int
    ) -> Tensor:
        r"""The energy of each system, :math:`(B)`; the arguments are those of
        :meth:`forward`."""

    def _is_differentiated(self, *state: Tensor) -> bool:
        """Whether derivatives of a state may be differentiated in their turn."""
        return torch.is_grad_enabled() and any(
            value.requires_grad for value in (*state, *self.parameters())
        )

    def derivative(
        self, x: Tensor, pos: Tensor, momentum: Tensor, batch: Tensor, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        create_graph = self._is_differentiated(x, pos, momentum)
        with torch.enable_grad():
            q, p = _variable(pos, create_graph), _variable(momentum, create_graph)
            energy = self.hamiltonian(x, q, p, batch, batch_size).sum()
            dq, dp = torch.autograd.grad(energy, (q, p), create_graph=create_graph)
        return dp, -dq


class SeparableDynamics(HamiltonianDynamics):
    r"""The dynamics of a Hamiltonian with the kinetic energy of classical mechanics,

    .. math::
        H(q, p) = \sum_i \frac{\| p_i \|^2}{2 m_i} + V(q),

    which a symplectic integrator may be used for. A subclass gives :meth:`potential`,
    and :meth:`force` if it has a closed form.
    """

    @abstractmethod
    def potential(
        self, x: Tensor, pos: Tensor, batch: Tensor, batch_size: int
    ) -> Tensor:
        r"""The potential energy :math:`V` of each system, :math:`(B)`."""

    def force(self, x: Tensor, pos: Tensor, batch: Tensor, batch_size: int) -> Tensor:
        r"""The force :math:`-\partial V / \partial q` on each particle,
        :math:`(N, d)`."""
        create_graph = self._is_differentiated(x, pos)
        with torch.enable_grad():
            q = _variable(pos, create_graph)
            energy = self.potential(x, q, batch, batch_size).sum()
            (gradient,) = torch.autograd.grad(
                energy, q, create_graph=create_graph, materialize_grads=True
            )
        return -gradient

    @property
    def is_separable(self) -> bool:
        """Whether :meth:`hamiltonian` is the one above, and not a subclass's."""
        return type(self).hamiltonian is SeparableDynamics.hamiltonian

    def velocity(self, x: Tensor, momentum: Tensor) -> Tensor:
        r"""The velocity :math:`p / m` of each particle, :math:`(N, d)`."""
        return momentum / x[:, :1]

    def kinetic_energy(
        self, x: Tensor, momentum: Tensor, batch: Tensor, batch_size: int
    ) -> Tensor:
        r"""The kinetic energy of each system, :math:`(B)`."""
        return scatter(kinetic_energy(x, momentum), batch, 0, batch_size, "sum")

    def hamiltonian(
        self, x: Tensor, pos: Tensor, momentum: Tensor, batch: Tensor, batch_size: int
    ) -> Tensor:
        kinetic = self.kinetic_energy(x, momentum, batch, batch_size)
        return kinetic + self.potential(x, pos, batch, batch_size)

    def derivative(
        self, x: Tensor, pos: Tensor, momentum: Tensor, batch: Tensor, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        if not self.is_separable:
            return super().derivative(x, pos, momentum, batch, batch_size)
        force = self.force(x, pos, batch, batch_size)
        return self.velocity(x, momentum), force


def kinetic_energy(x: Tensor, momentum: Tensor) -> Tensor:
    r"""The kinetic energy :math:`\| p \|^2 / 2 m` of each particle: :math:`(N)`, or
    :math:`(N, T)` for momenta :math:`(N, T, d)` over time."""
    mass = x[:, 0].view(-1, *[1] * (momentum.dim() - 2))
    return momentum.square().sum(-1) / (2 * mass)


def centered(pos: Tensor, batch: Tensor, batch_size: int) -> Tensor:
    """Positions less the mean of their system."""
    return pos - scatter(pos, batch, 0, batch_size, "mean")[batch]


def one_system(pos: Tensor) -> Tensor:
    """The batch vector of particles that are all of one system."""
    return torch.zeros(pos.size(0), dtype=torch.long, device=pos.device)


def _variable(value: Tensor, create_graph: bool) -> Tensor:
    """A tensor to differentiate in: itself where its own gradient is wanted."""
    if create_graph and value.requires_grad:
        return value
    return value.detach().requires_grad_()
