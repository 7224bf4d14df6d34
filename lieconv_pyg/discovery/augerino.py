"""Symmetries found by a predictor that is trained on moved data."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import MLP

from lieconv_pyg.discovery.generator import LieGenerator
from lieconv_pyg.discovery.method import DiscoveryMethod, Player
from lieconv_pyg.discovery.pairs import Representation
from lieconv_pyg.discovery.regularizers import IdentityPenalty, channel_penalty
from lieconv_pyg.discovery.spans import matrices
from lieconv_pyg.groups.checks import nonnegative, positive


class Predictor(torch.nn.Module):
    r"""An MLP that gives :math:`y` of :math:`x`, with two hidden layers; of labels
    their logits.

    Args:
        representation: What the pairs are made of.
        hidden_channels: Width.
        act: The activation.
    """

    def __init__(
        self,
        representation: Representation,
        hidden_channels: int = 512,
        act: str = "relu",
    ) -> None:
        super().__init__()
        r = self.representation = representation
        out = r.y_size * r.size if r.y_type == "vectors" else r.y_size
        hidden = [positive(hidden_channels, "hidden_channels")] * 2
        self.mlp = MLP([r.x_vectors * r.size, *hidden, out], act=act, norm=None)

    def reset_parameters(self) -> None:
        """Begins anew."""
        self.mlp.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """What :math:`y` is expected to be, of :math:`x` :math:`(B, k, n)`."""
        out = self.mlp(x.flatten(1))
        r = self.representation
        return out.view(-1, r.y_size, r.size) if r.y_type == "vectors" else out

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The mean square error, or the cross entropy of labels."""
        if self.representation.y_type == "labels":
            return F.cross_entropy(self(x), y)
        return F.mse_loss(self(x), y)


class AugerinoPlus(DiscoveryMethod):
    r"""Finds generators with a predictor :math:`f` in the place of the discriminator of
    `LieGAN <https://arxiv.org/abs/2302.00236>`_, the baseline "Augerino+" of its
    comparison: both make

    .. math::
        \| f(g x) - g y \|^2 + \lambda \, \ell_{\mathrm{identity}}
        + \eta \, \ell_{\mathrm{channels}}

    small, with the cross entropy where :math:`y` are labels.

    Args:
        representation: How the group acts on the pairs.
        num_channels: The number of generators.
        coefficients: How coefficients are drawn, see
            :class:`~lieconv_pyg.discovery.LieGenerator`.
        sigma: Their scale.
        init_scale: Standard deviation of the entries that the basis begins with.
        identity_weight: The weight :math:`\lambda`.
        identity: Which penalty, or :obj:`"none"`.
        channel_weight: The weight :math:`\eta`.
        hidden_channels: Width of the predictor.

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
        hidden_channels: int = 512,
    ) -> None:
        super().__init__(representation)
        self.identity_penalty = IdentityPenalty(identity, identity_weight)
        mask = representation.mask_tensor()
        self.generator = LieGenerator(
            mask, num_channels, coefficients, sigma, init_scale
        )
        self.predictor = Predictor(representation, hidden_channels)
        self.channel_weight = nonnegative(channel_weight, "channel_weight")

    def players(self) -> list[Player]:
        return [Player("loss", self._loss, list(self.parameters()))]

    def elements(self, num: int) -> Tensor:
        return self.generator(num)

    def _loss(self, x: Tensor, y: Tensor) -> Tensor:
        gx, gy = self.representation.act(self.elements(len(x)), x, y)
        loss = self.predictor.loss(gx, gy)
        loss = loss + self.identity_penalty(gx, x)
        return loss + self.channel_weight * channel_penalty(self.generator.basis)

    def find_basis(self, x: Tensor, y: Tensor) -> Tensor:
        return self.generator.scaled_basis.detach()


class Widths(torch.nn.Module):
    r"""Random elements :math:`\exp(\sum_k u_k w_k G_k)` of known generators, with
    widths :math:`w_k = \mathrm{softplus}(\theta_k)` that are learned: `"Learning
    Invariances in Neural Networks" <https://arxiv.org/abs/2010.11882>`_ (Augerino,
    Section 3).

    Args:
        generators: The generators :math:`(c, n, n)`.
        init: The :math:`\theta` to begin with.
        centered: Whether :math:`u` is uniform on :math:`[-1/2, 1/2]`, else on
            :math:`[0, 1]`.
        reward: Weight of the reward for wide distributions.
        most: Above it, there is no reward for a width.
        size: The :math:`n` that generators must have, if it is known.

    Raises:
        TypeError: If the generators are no floating-point tensor.
        ValueError: If they have another shape or a number is out of range.
    """

    generators: Tensor

    def __init__(
        self,
        generators: Tensor,
        init: float = 0.54,
        centered: bool = True,
        reward: float = 0.01,
        most: float = 10.0,
        size: int | None = None,
    ) -> None:
        super().__init__()
        if not most > 0:
            raise ValueError(f"'most' must be positive, got {most}")
        if not math.isfinite(init):
            raise ValueError(f"'init' must be finite, got {init}")
        basis = matrices(generators, "generators").to(torch.get_default_dtype())
        if size not in (None, basis.size(1)):
            raise ValueError(
                f"'generators' must have shape (c, {size}, {size}), got "
                f"{tuple(basis.shape)}"
            )
        self.register_buffer("generators", basis)
        self.theta = torch.nn.Parameter(torch.full((len(basis),), float(init)))
        self.init, self.centered = init, centered
        self.reward, self.most = nonnegative(reward, "reward"), most

    def reset_parameters(self) -> None:
        """Begins anew."""
        torch.nn.init.constant_(self.theta, self.init)

    @property
    def widths(self) -> Tensor:
        """The widths :math:`(c)`."""
        return F.softplus(self.theta)

    def forward(self, num: int, generator: torch.Generator | None = None) -> Tensor:
        """Random elements :math:`(B, n, n)`."""
        like: dict[str, Any] = dict(dtype=self.theta.dtype, device=self.theta.device)
        u = torch.rand(num, len(self.theta), generator=generator, **like)
        u = (u - 0.5 if self.centered else u) * self.widths
        exponent = torch.einsum("bc,cij->bij", u, self.generators)
        return torch.linalg.matrix_exp(exponent)

    def penalty(self) -> Tensor:
        """Less the reward: minus the sum of the squares of widths below the bound."""
        w = self.widths
        return -self.reward * w.square().masked_fill(w > self.most, 0.0).sum()


class Augerino(DiscoveryMethod):
    r"""Finds which of known generators a predictor :math:`f` does well to be invariant
    or equivariant under, and how far: `"Learning Invariances in Neural Networks"
    <https://arxiv.org/abs/2010.11882>`_, on pairs. It makes
    :math:`\| g^{-1} f(g x) - y \|^2` small, less a reward for the width of the
    distribution of :math:`g`. For molecules see
    :class:`~lieconv_pyg.discovery.AugerinoMolecules`.

    Args:
        representation: How the group acts on the pairs.
        generators: The generators :math:`(c, n, n)` that are tried. By default all
            matrices with one entry that the representation's mask lets them have.
        reward: Weight of the reward.
        init: Widths begin with the softplus of it.
        hidden_channels: Width of the predictor.

    Raises:
        TypeError: If the generators are no floating-point tensor.
        ValueError: If shapes do not fit or a number is out of range.
    """

    def __init__(
        self,
        representation: Representation,
        generators: Tensor | None = None,
        reward: float = 0.01,
        init: float = 0.54,
        hidden_channels: int = 512,
    ) -> None:
        super().__init__(representation)
        if generators is None:
            generators = representation.units()
        size = representation.size
        self.widths = Widths(generators, init, reward=reward, size=size)
        self.predictor = Predictor(representation, hidden_channels)

    def players(self) -> list[Player]:
        return [Player("loss", self._loss, list(self.parameters()))]

    def elements(self, num: int) -> Tensor:
        return self.widths(num)

    def _loss(self, x: Tensor, y: Tensor) -> Tensor:
        g = self.elements(len(x))
        gx, _ = self.representation.act(g, x, y)
        if self.representation.y_type != "vectors":
            return self.predictor.loss(gx, y) + self.widths.penalty()
        back = torch.linalg.solve(g, self.predictor(gx).mT).mT
        return F.mse_loss(back, y) + self.widths.penalty()

    def find_basis(self, x: Tensor, y: Tensor) -> Tensor:
        w = self.widths
        return (w.widths.view(-1, 1, 1) * w.generators).detach()

    def collapsed(self, x: Tensor) -> str | None:
        return None  # no symmetry among those that are tried is an answer


def affine_generators(dim: int = 3) -> Tensor:
    r"""The generators of all affine maps, in homogeneous coordinates: translations
    along each axis, and for each pair of axes, the same too, the matrix with that
    entry; :math:`(d + d^2, d + 1, d + 1)`, 12 in space."""
    n = positive(dim, "dim") + 1
    basis = torch.eye(n * n).view(n, n, n, n)
    return torch.cat([basis[:dim, dim], basis[:dim, :dim].flatten(0, 1)])


class AugerinoMolecules(torch.nn.Module):
    r"""A network for molecules that learns which affine maps of them its target does
    not depend on, as `"Learning Invariances in Neural Networks"
    <https://arxiv.org/abs/2010.11882>`_ does with LieConv on QM9: in training each
    molecule is moved at random, and the loss, to which :meth:`penalty` is added,
    rewards wide distributions.

    Args:
        network: Such as :class:`~lieconv_pyg.nn.MoleculeLieResNet` with the trivial
            group or translations, and :obj:`augment=False`; of numbers, not vectors.
        generators: The generators :math:`(c, 4, 4)`. By default
            :func:`~lieconv_pyg.discovery.affine_generators`.
        reward: Weight of the reward.
        init: Widths begin with the softplus of it.
        num_samples: Copies whose mean is taken in evaluation, always the same.

    Raises:
        TypeError: If the generators are no floating-point tensor.
        ValueError: If shapes do not fit, a number is out of range, or the network gives
            vectors.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        generators: Tensor | None = None,
        reward: float = 1e-3,
        init: float = 0.54,
        num_samples: int = 4,
    ) -> None:
        super().__init__()
        if getattr(network, "out_vectors", False):
            raise ValueError("vectors would have to be turned back: give numbers")
        if getattr(network, "augment", False):
            raise ValueError("'network' turns molecules itself: give augment=False")
        basis = affine_generators(3) if generators is None else generators
        self.network = network
        self.widths = Widths(basis, init, centered=False, reward=reward, size=4)
        self.num_samples = positive(num_samples, "num_samples")

    @property
    def species(self) -> Any:
        """The atomic numbers that the network knows."""
        return getattr(self.network, "species", None)

    def penalty(self) -> Tensor:
        """Minus the reward."""
        return self.widths.penalty()

    def reset_parameters(self) -> None:
        """Begins anew."""
        reset: Any = self.network.reset_parameters
        reset()
        self.widths.reset_parameters()

    def calibrate(self, pos: Tensor, batch: Tensor | None = None) -> None:
        """Sets the network's radii, if it has any."""
        calibrate: Any = getattr(self.network, "calibrate", None)
        if calibrate is not None:
            calibrate(pos, batch)

    def forward(self, z: Tensor, pos: Tensor, batch: Tensor | None = None) -> Tensor:
        """The network's output for moved molecules, the mean of some in evaluation."""
        if batch is None:
            batch = torch.zeros_like(z)
        num = int(batch[-1]) + 1
        if self.training:
            return self.network(z, self._move(pos, batch, self.widths(num)), batch)
        seed = torch.Generator(pos.device).manual_seed(0)
        # The same elements for every molecule: it does not depend on its batch.
        moves = self.widths(self.num_samples, generator=seed)
        outs = [
            self.network(z, self._move(pos, batch, g.expand(num, -1, -1)), batch)
            for g in moves
        ]
        return torch.stack(outs).mean(0)

    def _move(self, pos: Tensor, batch: Tensor, g: Tensor) -> Tensor:
        g = g[batch].to(pos.dtype)
        return (g[:, :3, :3] @ pos.unsqueeze(2)).squeeze(2) + g[:, :3, 3]
