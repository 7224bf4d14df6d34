"""Random elements of a group that is learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.discovery.spans import matrices
from lieconv_pyg.groups.checks import positive

COEFFICIENTS = ("normal", "uniform", "integers")


class LieGenerator(torch.nn.Module):
    r"""Random elements :math:`g = \exp(\sum_k z_k L_k)` of a group with a learned basis
    :math:`L`, the generator of `"Generative Adversarial Symmetry Discovery"
    <https://arxiv.org/abs/2302.00236>`_ (Section 4).

    Args:
        mask: Entries :math:`(n, n)` that are searched: 0 where generators are zero.
        num_channels: The number :math:`c` of generators.
        coefficients: How :math:`z` is drawn: :obj:`"normal"`, :math:`N(\mu,
            \sigma^2)`; :obj:`"uniform"`, on :math:`\mu \pm \sigma`; or
            :obj:`"integers"`, from :math:`-\sigma` up to but not including
            :math:`\sigma`, for a discrete group.
        sigma: The scale :math:`\sigma`. It stays as it is: only :math:`\sigma L` is
            seen. With a given basis it is what is learned, with :math:`\mu`.
        init_scale: Standard deviation of the entries that the basis begins with.
        basis: Known generators :math:`(c, n, n)`, of which the used ones are looked
            for: they stay as they are.

    Raises:
        ValueError: If an argument is out of range.
    """

    active: Tensor
    mask: Tensor

    def __init__(
        self,
        mask: Tensor,
        num_channels: int = 1,
        coefficients: str = "normal",
        sigma: float = 1.0,
        init_scale: float = 1.0,
        basis: Tensor | None = None,
    ) -> None:
        super().__init__()
        if coefficients not in COEFFICIENTS:
            raise ValueError(
                f"'coefficients' must be one of {', '.join(COEFFICIENTS)}, got "
                f"{coefficients!r}"
            )
        for name, value in (("sigma", sigma), ("init_scale", init_scale)):
            if not 0 < value < float("inf"):
                raise ValueError(f"'{name}' must be positive, got {value}")
        self._known = None if basis is None else matrices(basis, "basis").to(mask)
        if self._known is not None:
            num_channels = len(self._known)
            if self._known.shape[1:] != mask.shape:
                raise ValueError(
                    f"'basis' must have shape (c, {mask.size(0)}, {mask.size(1)}), got "
                    f"{tuple(self._known.shape)}"
                )
            if coefficients == "integers":
                raise ValueError("the scale of 'integers' cannot be learned")
        elif coefficients == "integers" and (sigma < 1 or sigma != int(sigma)):
            raise ValueError(f"'sigma' of 'integers' must be a whole number: {sigma}")
        positive(num_channels, "num_channels")
        self.coefficients, self.init_scale = coefficients, init_scale
        self._sigma = float(sigma)
        self.register_buffer("mask", mask)
        #: Which channels are in use, :math:`(c)`.
        self.register_buffer("active", torch.ones(num_channels))
        learned = self._known is None
        self.weight = torch.nn.Parameter(
            torch.empty(num_channels, *mask.shape), requires_grad=learned
        )
        self.mu = torch.nn.Parameter(
            torch.zeros(num_channels), requires_grad=not learned
        )
        self.log_sigma = torch.nn.Parameter(
            torch.zeros(num_channels), requires_grad=not learned
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws another basis to begin with."""
        with torch.no_grad():
            if self._known is None:
                self.weight.normal_(0, self.init_scale)
            else:
                self.weight.copy_(self._known)
            self.mu.zero_()
            self.log_sigma.fill_(self._sigma).log_()
            self.active.fill_(1)

    @property
    def basis(self) -> Tensor:
        """The generators :math:`(c, n, n)`."""
        return self.weight * self.mask

    @property
    def sigma(self) -> Tensor:
        """The scale :math:`(c)` of the coefficients, 0 of channels not in use."""
        return self.log_sigma.exp() * self.active

    @property
    def scaled_basis(self) -> Tensor:
        """The generators with the scale of their coefficients, in use or not; with
        integers, whose elements are powers of one, as they are."""
        if self.coefficients == "integers":
            return self.basis
        return self.log_sigma.exp().view(-1, 1, 1) * self.basis

    def draw(self, num: int) -> Tensor:
        """Coefficients :math:`(B, c)`."""
        like: dict[str, Any] = dict(dtype=self.weight.dtype, device=self.weight.device)
        shape = num, len(self.weight)
        if self.coefficients == "integers":
            bound = int(self._sigma)
            return self.active * torch.randint(-bound, bound, shape, **like)
        noise = torch.randn(shape, **like)
        if self.coefficients == "uniform":
            noise = 2 * torch.rand(shape, **like) - 1
        return self.mu * self.active + self.sigma * noise

    def forward(self, num: int) -> Tensor:
        """Random elements :math:`(B, n, n)`."""
        exponent = torch.einsum("bc,cij->bij", self.draw(num), self.basis)
        return torch.linalg.matrix_exp(exponent)
