"""Made-up jets, for trials without a download."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from lieconv_pyg.datasets.jets import SPLITS, Jets, check_number
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.groups.minkowski import from_rest_frame, to_rest_frame

#: Masses in GeV.
TOP, W = 173.0, 80.4
#: Least and largest number of constituents.
SIZES = (20, 50)
_SIZE = {"train": 5000, "val": 1000, "test": 2000}
_BLOCK = 250  # jets that one seed makes
_MOMENTA = (550.0, 650.0)  # of jets, across the beam
_B_MASS = (5.0, 30.0)
_ANGLE = (0.1, 0.8)  # of the first splitting of the background
_SHARE = (0.05, 0.5)  # of the softer of two partons
_VIRTUALITY = (1e-3, 0.2)


class ToyJetArrays(NamedTuple):
    r"""Made-up jets as they are before a detector.

    Shapes:
        - **pos:** momenta :math:`(N, 50, 4)` in GeV in float64, the hardest first, and
          zeros for constituents that are not there
        - **counts:** how many there are, :math:`(N)`
        - **y:** 1 for top quarks, 0 for background, :math:`(N)`
        - **origin:** what a constituent of a top quark is from: 0 the b quark, 1 the W
          boson; else 0, :math:`(N, 50)`
    """

    pos: Tensor
    counts: Tensor
    y: Tensor
    origin: Tensor


def toy_jets(num: int, seed: int = 0) -> ToyJetArrays:
    r"""Makes jets of massless constituents, whose momenta sum to that of the jet.

    Half of them are a top quark of 173 GeV that decays to a b quark and a W boson of
    80.4 GeV, and this to two quarks, each in a direction that is uniform in the rest
    frame of what decays. The others are one parton that splits in two, with an angle
    that is uniform between 0.1 and 0.8. All partons then split on, until there are 20
    to 50 of them, in either class: one parton becomes two, with the recoil taken by
    another one of the same origin, by the kinematics of `"A General Algorithm for
    Calculating Jet Cross Sections in NLO QCD" <https://arxiv.org/abs/hep-ph/9605323>`_
    (Catani, Seymour 1997, Section 5.1), which keeps momenta massless and their sum as
    it is. Shares and virtualities are uniform in their logarithms. At last the jet is
    boosted to between 550 and 650 GeV across the beam.

    Args:
        num (int): How many.
        seed (int, optional): Other numbers, other jets. (default: :obj:`0`)
    """
    random = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (num,), generator=random)
    counts = torch.randint(SIZES[0], SIZES[1] + 1, (num,), generator=random)
    transverse = _uniform(num, *_MOMENTA, random)
    phi = _uniform(num, 0, 2 * math.pi, random)
    rapidity = _uniform(num, -1, 1, random)

    b, w = _top_decay(num, random)
    first, mass = _first_splitting(transverse, random)
    signal = (y == 1)[:, None, None]
    p = torch.zeros(num, SIZES[1], 4, dtype=torch.float64)
    p[:, :4] = torch.where(signal, torch.cat([b, w], dim=1), 0)
    p[:, :2] = torch.where(signal, p[:, :2], first)
    origin = torch.zeros(num, SIZES[1], dtype=torch.long)
    origin[:, 2:4] = y[:, None]
    for number in range(2, SIZES[1]):
        grows = (counts > number) & ((y == 0) | (number >= 4))
        _split(p, origin, grows.nonzero().view(-1), number, random)

    mass = torch.where(y == 1, TOP, mass)
    across = (mass.square() + transverse.square()).sqrt()
    axis = torch.stack([phi.cos(), phi.sin()], dim=1)
    along = across * rapidity.sinh()
    total = torch.cat(
        [
            (across * rapidity.cosh())[:, None],
            transverse[:, None] * axis,
            along[:, None],
        ],
        dim=1,
    )
    there = torch.arange(SIZES[1]) < counts[:, None]
    p = from_rest_frame(_facing(p, total), total[:, None]) * there.unsqueeze(2)
    p[..., 0] = p[..., 1:].norm(dim=-1)  # massless to the last digit
    order = p[..., 1:3].norm(dim=-1).argsort(dim=1, descending=True)
    p = p.gather(1, order.unsqueeze(2).expand(-1, -1, 4))
    return ToyJetArrays(p, counts, y, origin.gather(1, order))


class ToyJets(Jets):
    r"""Made-up jets (:func:`toy_jets`) for trials without a download, of
    20 to 50 massless constituents each, as many of top quarks as of background. They
    are a small stand-in for :class:`~lieconv_pyg.datasets.TopTagging`: no shower of a
    physics program and no detector is in them, and what a network reaches on them says
    nothing of what it would reach there.

    Momenta are in float64. The parts are made with different seeds, and the first jets
    are the same however many there are.

    Args:
        split (str, optional): :obj:`"train"`, :obj:`"val"` or :obj:`"test"`.
            (default: :obj:`"train"`)
        num (int, optional): How many. (default: 5,000, 1,000 and 2,000)
        seed (int, optional): Other numbers, other jets. (default: :obj:`0`)
        unit (float, optional): The unit of the momenta, in GeV. (default: :obj:`1.0`)
        resolution (float, optional): Each momentum is multiplied by the exponential of
            a normal number of this standard deviation, as if it had been measured.
            With 0 the mass of each top quark is 173 GeV exactly. (default: :obj:`0.25`)
        max_constituents (int, optional): Keeps the hardest so many of each jet.
            (default: all)
        transform (callable, optional): Applied to an item when it is taken.

    Raises:
        TypeError: If a number is no integer.
        ValueError: If an argument is out of range.
    """

    source = "toy"

    def __init__(
        self,
        split: str = "train",
        num: int | None = None,
        seed: int = 0,
        unit: float = 1.0,
        resolution: float = 0.25,
        max_constituents: int | None = None,
        transform: Callable[[Data], Any] | None = None,
    ) -> None:
        super().__init__(None, split, unit, transform)
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise TypeError(f"'seed' must be an integer, got {seed!r}")
        if not 0 <= resolution < math.inf:
            raise ValueError(f"'resolution' must not be negative, got {resolution}")
        self.seed, self.resolution = seed, resolution
        num = _SIZE[split] if num is None else positive(num, "num")
        blocks = [self._block(block) for block in range(-(-num // _BLOCK))]
        pos, counts, y = (torch.cat(part)[:num] for part in zip(*blocks, strict=True))
        if check_number(max_constituents, "max_constituents") is not None:
            counts = counts.clamp(max=max_constituents)
        there = torch.arange(SIZES[1]) < counts[:, None]
        self.hold(pos[there], counts, y)

    def _block(self, block: int) -> tuple[Tensor, Tensor, Tensor]:
        """So many jets as one seed makes, as they are measured."""
        seeds = torch.tensor([self.seed, SPLITS.index(self.split), block])
        random = torch.Generator().manual_seed(_mixed(seeds.tolist()))
        seed = int(torch.randint(2**62, (1,), generator=random))
        pos, counts, y, _ = toy_jets(_BLOCK, seed)
        noise = torch.randn(pos.shape[:2], generator=random, dtype=pos.dtype)
        return pos * (self.resolution * noise).exp().unsqueeze(2), counts, y


def _mixed(numbers: list[int]) -> int:
    """One seed of several numbers; those of others are all but surely different."""
    out = 0
    for number in numbers:
        out = (out * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return out


def _uniform(
    num: int, low: float, high: float, random: torch.Generator, log: bool = False
) -> Tensor:
    """Random numbers, uniform in a range themselves or by their logarithms."""
    share = torch.rand(num, generator=random, dtype=torch.float64)
    return low * (high / low) ** share if log else low + (high - low) * share


def _directions(num: int, random: torch.Generator) -> Tensor:
    """Uniform unit vectors."""
    n = torch.randn(num, 3, generator=random, dtype=torch.float64)
    return n / n.norm(dim=1, keepdim=True)


def _back_to_back(energy: Tensor, n: Tensor) -> Tensor:
    """Two massless momenta with these energies, along n and against it, (N, 2, 4)."""
    ahead = torch.cat([torch.ones_like(n[:, :1]), n], dim=1)
    behind = torch.cat([torch.ones_like(n[:, :1]), -n], dim=1)
    return energy[:, None, None] * torch.stack([ahead, behind], dim=1)


def _top_decay(num: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two massless momenta of the b quark and two of the W boson, in the rest frame of
    the top quark."""
    b_mass = _uniform(num, *_B_MASS, random, log=True)
    energy = (TOP**2 + b_mass.square() - W**2) / (2 * TOP)
    momentum = (energy.square() - b_mass.square()).sqrt()
    to = momentum[:, None] * _directions(num, random)
    b = torch.cat([energy[:, None], to], dim=1)
    w = torch.cat([TOP - energy[:, None], -to], dim=1)
    halves = b_mass / 2, torch.full_like(b_mass, W / 2)
    return (
        from_rest_frame(_back_to_back(halves[0], _directions(num, random)), b[:, None]),
        from_rest_frame(_back_to_back(halves[1], _directions(num, random)), w[:, None]),
    )


def _first_splitting(
    transverse: Tensor, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Two massless momenta of a parton that has split, in their rest frame, moving
    along the first axis, and its mass."""
    num = len(transverse)
    share = _uniform(num, *_SHARE, random, log=True)
    angle = _uniform(num, *_ANGLE, random)
    mass = (share * (1 - share)).sqrt() * angle * transverse
    cos = 1 - 2 * share
    sin = (1 - cos.square()).sqrt()
    turn = _uniform(num, 0, 2 * math.pi, random)
    n = torch.stack([cos, sin * turn.cos(), sin * turn.sin()], dim=1)
    return _back_to_back(mass / 2, n), mass


def _facing(p: Tensor, total: Tensor) -> Tensor:
    """Momenta (N, n, 4) turned by what takes the first axis to the direction of the
    jet: the reflection that swaps them."""
    n = total[:, 1:] / total[:, 1:].norm(dim=1, keepdim=True)
    normal = n - n.new_tensor([1, 0, 0])
    normal = normal / normal.norm(dim=1, keepdim=True).clamp(min=1e-12)
    along = (p[..., 1:] * normal[:, None]).sum(dim=2, keepdim=True)
    return torch.cat([p[..., :1], p[..., 1:] - 2 * along * normal[:, None]], dim=2)


def _split(
    p: Tensor, origin: Tensor, jets: Tensor, number: int, random: torch.Generator
) -> None:
    """Splits one of so many partons of each of these jets, in place."""
    num = len(jets)
    there, own = p[jets, :number], origin[jets, :number]
    which = torch.multinomial(there[..., 0], 1, generator=random).view(-1)
    rows = torch.arange(num)
    same = (own == own[rows, which][:, None]).double()
    same[rows, which] = 0
    other = torch.multinomial(same, 1, generator=random).view(-1)
    a, k = there[rows, which], there[rows, other]
    z = _uniform(num, *_SHARE, random, log=True)[:, None]
    v = _uniform(num, *_VIRTUALITY, random, log=True)[:, None]
    side = _across(a, k, random)
    square = 2 * (a[:, 0] * k[:, 0] - (a[:, 1:] * k[:, 1:]).sum(1))[:, None]
    side = side * (z * (1 - z) * v * square.clamp(min=0)).sqrt()
    soft = z * a + v * (1 - z) * k + side
    p[jets, which] = (1 - z) * a + v * z * k - side
    p[jets, number] = soft
    p[jets, other] = (1 - v) * k
    origin[jets, number] = own[rows, which]


def _across(a: Tensor, k: Tensor, random: torch.Generator) -> Tensor:
    """Random vectors (N, 4) with square -1 and no product with two momenta."""
    total = a + k
    n = to_rest_frame(a, total)[:, 1:]
    e = torch.linalg.cross(n, _directions(len(n), random), dim=1)
    e = e / e.norm(dim=1, keepdim=True)
    return from_rest_frame(torch.cat([torch.zeros_like(e[:, :1]), e], dim=1), total)
