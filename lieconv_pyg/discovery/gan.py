"""Symmetries found by adversaries: moved data must look like the data."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import MLP

from lieconv_pyg.discovery.generator import LieGenerator
from lieconv_pyg.discovery.method import DiscoveryMethod, Player
from lieconv_pyg.discovery.pairs import Representation
from lieconv_pyg.discovery.regularizers import (
    IdentityPenalty,
    channel_penalty,
    closure_penalty,
)
from lieconv_pyg.groups.checks import nonnegative, positive
from lieconv_pyg.groups.matrix_functions import matrix_log


class Discriminator(torch.nn.Module):
    r"""Tells data from moved data: an MLP on all numbers of a pair, with an embedding
    of its label, if it has one. It gives the logit :math:`(B)` of "data".

    Args:
        representation: What the pairs are made of.
        hidden_channels: Width of its two hidden layers.
    """

    def __init__(
        self, representation: Representation, hidden_channels: int = 512
    ) -> None:
        super().__init__()
        r = representation
        self.embedding: torch.nn.Embedding | None = None
        extra = r.y_size * r.size if r.y_type == "vectors" else r.y_size
        if r.y_type == "labels":
            extra = 32
            self.embedding = torch.nn.Embedding(r.y_size, extra)
        hidden = [positive(hidden_channels, "hidden_channels")] * 2
        act = torch.nn.LeakyReLU(0.2)
        self.mlp = MLP([r.x_vectors * r.size + extra, *hidden, 1], act=act, norm=None)

    def reset_parameters(self) -> None:
        """Begins anew."""
        self.mlp.reset_parameters()
        if self.embedding is not None:
            self.embedding.reset_parameters()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The logits :math:`(B)` of pairs."""
        y = y.flatten(1) if self.embedding is None else self.embedding(y)
        return self.mlp(torch.cat([x.flatten(1), y], dim=1)).squeeze(1)


class _Adversaries(DiscoveryMethod):
    """Elements that move data, and a discriminator of data from moved data."""

    def __init__(
        self,
        representation: Representation,
        identity_weight: float,
        identity: str,
        hidden_channels: int,
    ) -> None:
        super().__init__(representation)
        self.identity_penalty = IdentityPenalty(identity, identity_weight)
        self.discriminator = Discriminator(representation, hidden_channels)

    def _generator_parameters(self) -> list[torch.nn.Parameter]:
        theirs = {id(p) for p in self.discriminator.parameters()}
        return [p for p in self.parameters() if id(p) not in theirs]

    def players(self) -> list[Player]:
        """The generator, and after it the discriminator at a fifth of its rate."""
        adam = (0.5, 0.999)
        return [
            Player("generator", self._fool, self._generator_parameters(), betas=adam),
            Player("discriminator", self._tell, self.discriminator.parameters(), 0.2),
        ]

    def _fool(self, x: Tensor, y: Tensor) -> Tensor:
        gx, gy = self.representation.act(self.elements(len(x)), x, y)
        loss = F.softplus(-self.discriminator(gx, gy)).mean()
        return loss + self.identity_penalty(gx, x) + self._penalty()

    def _penalty(self) -> Tensor | float:
        return 0.0

    def _tell(self, x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            gx, gy = self.representation.act(self.elements(len(x)), x, y)
        real, moved = self.discriminator(x, y), self.discriminator(gx, gy)
        return (F.softplus(-real).mean() + F.softplus(moved).mean()) / 2


class LieGAN(_Adversaries):
    r"""Finds the generators of a symmetry by `"Generative Adversarial Symmetry
    Discovery" <https://arxiv.org/abs/2302.00236>`_: random elements
    :math:`g = \exp(\sum_k z_k L_k)` move the data, and a discriminator must not be able
    to tell. The generator makes

    .. math::
        - \log D(g x, g y) + \lambda \, \ell_{\mathrm{identity}}
        + \eta \, \ell_{\mathrm{channels}} + \kappa \, \ell_{\mathrm{closure}}
        + \mu \| L \|

    small. The term of closure is not in the paper. What is found are the symmetries of
    the distribution of the pairs, not of a function :math:`y = f(x)`.

    Args:
        representation: How the group acts on the pairs.
        num_channels: The number of generators.
        coefficients: How coefficients are drawn, see
            :class:`~lieconv_pyg.discovery.LieGenerator`.
        sigma: Their scale.
        init_scale: Standard deviation of the entries that the basis begins with.
        identity_weight: The weight :math:`\lambda`.
        identity: Which penalty, see
            :func:`~lieconv_pyg.discovery.regularizers.identity_penalty`, or
            :obj:`"none"`.
        channel_weight: The weight :math:`\eta` of
            :func:`~lieconv_pyg.discovery.regularizers.channel_penalty`.
        closure_weight: The weight :math:`\kappa` of
            :func:`~lieconv_pyg.discovery.regularizers.closure_penalty`.
        norm_weight: The weight :math:`\mu` of the norm of the basis.
        sequential: Whether channels are learned one after the other, each for as many
            epochs, with the others switched off, but that it is to be orthogonal to
            those before: for an unknown number of generators.
        basis: Known generators, of which the used ones are looked for: the scales of
            their coefficients are learned.
        hidden_channels: Width of the discriminator.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        representation: Representation,
        num_channels: int = 1,
        coefficients: str = "normal",
        sigma: float = 1.0,
        init_scale: float = 1.0,
        identity_weight: float = 1.0,
        identity: str = "cosine",
        channel_weight: float = 0.1,
        closure_weight: float = 0.0,
        norm_weight: float = 0.0,
        sequential: bool = False,
        basis: Tensor | None = None,
        hidden_channels: int = 512,
    ) -> None:
        super().__init__(representation, identity_weight, identity, hidden_channels)
        if sequential and basis is not None:
            raise ValueError("'sequential' learns generators: leave 'basis' out")
        self.generator = LieGenerator(
            representation.mask_tensor(),
            num_channels,
            coefficients,
            sigma,
            init_scale,
            basis,
        )
        self.channel_weight = nonnegative(channel_weight, "channel_weight")
        self.closure_weight = nonnegative(closure_weight, "closure_weight")
        self.norm_weight = nonnegative(norm_weight, "norm_weight")
        self.sequential = sequential

    def elements(self, num: int) -> Tensor:
        return self.generator(num)

    def _penalty(self) -> Tensor:
        L = self.generator.basis
        loss = self.norm_weight * L.flatten(1).norm(dim=1).sum()
        if self.sequential:  # with those before, which stay
            k = int(self.generator.active.argmax())
            L = torch.cat([L[:k].detach(), L[k : k + 1]])
        if len(L) > 1:
            loss = loss + self.channel_weight * channel_penalty(L)
            if self.closure_weight and not self.sequential:
                loss = loss + self.closure_weight * closure_penalty(L)
        return loss

    def start_epoch(self, epoch: int, num_epochs: int) -> None:
        if not self.sequential:
            return
        active = self.generator.active
        now = min(epoch * len(active) // num_epochs, len(active) - 1)
        if epoch == 0 or not bool(active[now]):
            active.zero_()
            active[now] = 1
            self.discriminator.reset_parameters()

    def find_basis(self, x: Tensor, y: Tensor) -> Tensor:
        return self.generator.scaled_basis.detach()


class SymmetryGAN(_Adversaries):
    r"""Finds one element :math:`g` of a symmetry, instead of generators: `"SymmetryGAN:
    Symmetry Discovery with Deep Learning" <https://arxiv.org/abs/2112.05722>`_, as in
    the comparison of `LieGAN <https://arxiv.org/abs/2302.00236>`_. What it finds is a
    generator only as far as :math:`\log g` is real.

    Args:
        representation: How the group acts on the pairs.
        init_scale: Standard deviation of the entries that :math:`g` begins with.
        identity_weight: Weight of the penalty on elements that do nothing.
        identity: Which penalty.
        hidden_channels: Width of the discriminator.

    Raises:
        ValueError: If an argument is out of range.
    """

    mask: Tensor

    def __init__(
        self,
        representation: Representation,
        init_scale: float = 1.0,
        identity_weight: float = 1.0,
        identity: str = "cosine",
        hidden_channels: int = 512,
    ) -> None:
        super().__init__(representation, identity_weight, identity, hidden_channels)
        self.init_scale = init_scale
        self.register_buffer("mask", representation.mask_tensor())
        self.weight = torch.nn.Parameter(torch.empty_like(self.mask))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begins anew."""
        torch.nn.init.normal_(self.weight, 0, self.init_scale)
        super().reset_parameters()

    def elements(self, num: int) -> Tensor:
        return (self.weight * self.mask).expand(num, -1, -1)

    def find_basis(self, x: Tensor, y: Tensor) -> Tensor:
        g = (self.weight * self.mask).detach().double().unsqueeze(0)
        return matrix_log(g)
