"""Farthest point sampling in rounds: many points at once, the same choice."""

from typing import NamedTuple

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.lifting.lifted import Lifted
from lieconv_pyg.neighbors.layout import Layout
from lieconv_pyg.neighbors.radius import FEW_SOURCES, edges_within

BUCKETS = 256  # of values between half of the largest one and that
FEWEST = 128  # candidates of a component
CROWD = 32  # chosen points from which on most candidates are not near each other
REST = 1.6  # times smaller than the largest one: values that need no update yet
WAKE = 1.1  # times larger than those is the largest one when they are updated
DENSE_SOURCES = 4  # new points of a component with which all others are compared
MANY = 8  # points that tie for the largest value: with more, rank decides at once
REACH = 32  # tolerances to both sides within which a chain of ties is followed

Pairs = tuple[Tensor, Tensor, Tensor]  # two points and their distance


class Points(NamedTuple):
    r"""Points on their way through the rounds.

    Shapes:
        - **value:** the distance to the nearest chosen point, :math:`(M,)`; that of
          a chosen point stays what it was when the point was chosen
        - **rank:** what decides between equal values, :math:`(M,)`: the smallest
        - **component:** :math:`(M,)`, of :math:`0, \dots, C-1`
        - **open:** the points that are not chosen, :math:`(M,)`
    """

    value: Tensor
    rank: Tensor
    component: Tensor
    open: Tensor

    @property
    def keep(self) -> float:
        r"""A value times this is equal to it, to rounding; below it is not."""
        return 1 - torch.finfo(self.value.dtype).eps ** 0.75

    def select(self, index: Tensor) -> "Points":
        r"""Returns the points at :obj:`index`."""
        return Points(*(x.index_select(0, index) for x in self))

    def largest(self, among: Tensor, num_components: int) -> Tensor:
        r"""The largest value of each component among some points, or
        :math:`-\infty`, :math:`(C,)`.
        """
        value = torch.where(among, self.value, -torch.inf)
        out = value.new_full((num_components,), -torch.inf)
        return out.scatter_reduce(0, self.component, value, "amax")

    def how_many(self, among: Tensor, num_components: int) -> Tensor:
        r"""The number of these points in each component, :math:`(C,)`."""
        out = self.rank.new_zeros(num_components)
        return out.index_add(0, self.component, among.long())


class Rounds:
    r"""Chooses the points that would be chosen one after the other: each time the
    farthest from those chosen before; of distances that are equal to the largest
    one, to rounding, that of the smallest rank.

    Distances to the chosen points only fall. So a point is sure to be chosen, with
    the distance that it has now, if no point that may come before it is nearer to it
    than that. Each round looks at the points with the largest distances, chooses
    until none of them is sure, and updates the distances of the others: of
    those that are much smaller than the largest one, not every time. The points
    chosen after a round are those with the largest distances; their order is found
    in the end, when there are enough of them.

    Args:
        group (LieGroup): The group.
        lifted (Lifted): The lifted points.
        layout (Layout): Their components.
        rank (torch.Tensor): The rank of each point, :math:`(M,)`, all different.
        max_pairs (int): The number of pairs that are worked on together.
    """

    def __init__(
        self,
        group: LieGroup,
        lifted: Lifted,
        layout: Layout,
        rank: Tensor,
        max_pairs: int,
    ) -> None:
        self.group, self.lifted, self.max_pairs = group, lifted, max_pairs
        self.sizes, self.number = layout.ptr.diff(), layout.num_components
        dtype = torch.promote_types(lifted.element.dtype, torch.float32)
        value = torch.full_like(rank, torch.inf, dtype=dtype)
        is_open = torch.ones_like(rank, dtype=torch.bool)
        self.points = Points(value, rank, layout.dst, is_open)
        # Open points below this value are at rest: they do not know of these points.
        self.rest = value.new_full((self.number,), torch.inf)
        self.unknown = torch.zeros_like(is_open)

    def choose(
        self, first: Tensor, wanted: Tensor, small: Tensor, pairs: Pairs
    ) -> Tensor:
        r"""Returns the mask of the chosen points, :math:`(M,)`.

        Args:
            first (torch.Tensor): The first point of each component, :math:`(C,)`.
            wanted (torch.Tensor): The number of points of each, :math:`(C,)`.
            small (torch.Tensor): The components of which all pairs are known.
            pairs (tuple): These pairs.
        """
        points, component = self.points, self.points.component
        points.open[first] = False
        if bool(small.any()):
            _choose_among(points, first, small, pairs)
        self._update(first[~small], points.open & ~small[component])
        while True:
            top = points.largest(points.open, self.number)
            ahead = ~points.open & (points.value * points.keep > top[component])
            missing = wanted - points.how_many(ahead, self.number)
            active = (missing > 0) & (top > 0)
            if not bool(active.any()):
                break
            # One radius serves all: of others, the values are not large enough yet.
            active &= top >= top[active].max() / 2
            self._round(self._wake(top, active), active, missing)
        left = points.open & ~(top > 0)[component]  # coincide with chosen points
        return _first_in_turn(points, (left | ~points.open).nonzero().view(-1), wanted)

    def _wake(self, top: Tensor, active: Tensor) -> Tensor:
        r"""Updates the points at rest where values as large as theirs are about to be
        the largest ones, and lets others rest. Returns the largest values.
        """
        points, component = self.points, self.points.component
        tired = active & (top < WAKE * self.rest)
        if not bool(tired.any()):
            return top
        new = self.unknown & tired[component]
        old = points.open & (points.value < self.rest[component]) & tired[component]
        self._update(new.nonzero().view(-1), old, float(self.rest[tired].max()))
        self.unknown &= ~new
        top = points.largest(points.open, self.number)
        self.rest = torch.where(tired, top / REST, self.rest)
        return top

    def _round(self, top: Tensor, active: Tensor, missing: Tensor) -> None:
        r"""Chooses from the points with the largest values, and updates others."""
        points, component = self.points, self.points.component
        awake = points.open & active[component]
        awake &= points.value >= self.rest[component]
        candidate = self._candidates(awake, top, missing)
        floor = points.largest(points.open & ~candidate, self.number)
        # Chosen points with a value equal to the largest one take part in its ties.
        high = (top * (1 + REACH * (1 - points.keep)))[component]
        tied = ~points.open & active[component] & (points.value <= high)
        index = (candidate | tied).nonzero().view(-1)
        few = points.select(index)
        before = few.open.clone()
        _choose_sure(few, self._pairs(few, index, top[active].max()), floor)
        points.value[index] = few.value
        new = index[before & ~few.open]

        alone = active.clone()
        alone[component[new]] = False
        if bool(alone.any()):  # candidates would be too many: the next point alone
            whole = alone[component].nonzero().view(-1)
            following = _next(points.select(whole), self.number)[0]
            new = torch.cat([new, whole[following]]).sort().values
        points.open[new] = False
        self.unknown[new] = True
        self._update(new, awake & points.open & (~candidate | alone[component]))

    def _candidates(self, awake: Tensor, top: Tensor, missing: Tensor) -> Tensor:
        r"""The mask of those with the largest values among these points: as many
        as make few pairs, as compared with the number of points of a component.
        """
        points, number = self.points, self.number
        chosen = points.how_many(~points.open, number)
        few = (2 * self.sizes * (1 + chosen / CROWD)).sqrt()
        room = torch.maximum(few, 2 * chosen).minimum(3 * missing).clamp(min=FEWEST)
        crowded = points.how_many(awake, number) > room
        if not bool(crowded.any()):
            return awake
        index = (awake & crowded[points.component]).nonzero().view(-1)
        component = points.component[index]
        share = points.value[index] / top[component]
        bucket = ((1 - share) * (2 * BUCKETS)).nan_to_num(0.0).long()
        place = (crowded.cumsum(0) - 1)[component] * BUCKETS
        bucket = place + bucket.clamp(0, BUCKETS - 1)
        counts = torch.bincount(bucket, minlength=int(crowded.sum()) * BUCKETS)
        total = counts.view(-1, BUCKETS).cumsum(1)
        taken = (total <= room[crowded].unsqueeze(1)).view(-1)
        return awake.index_put((index,), taken[bucket])

    def _pairs(self, points: Points, index: Tensor, radius: Tensor) -> Pairs:
        r"""The near pairs of the open ones of these points, the smaller rank first."""
        where = points.open.nonzero().view(-1)
        lifted, rank = self.lifted.select(index[where]), points.rank[where]
        value = points.value[where]
        parts = [(where[:0], where[:0], value[:0])]
        for edge, _, distance in edges_within(
            self.group,
            lifted,
            lifted,
            float(radius) / points.keep,
            None,
            self.max_pairs,
        ):
            a, b = edge
            near = distance * points.keep < torch.minimum(value[a], value[b])
            near &= rank[a] < rank[b]
            near = near.nonzero().view(-1)
            parts.append((where[a[near]], where[b[near]], distance[near]))
        a, b, distance = (torch.cat(column) for column in zip(*parts, strict=True))
        return a, b, distance

    def _update(self, new: Tensor, mask: Tensor, radius: float = torch.inf) -> None:
        r"""Lowers the values of the points of a mask to their distances from new ones,
        of which those up to the radius are needed.
        """
        value, old = self.points.value, mask.nonzero().view(-1)
        if old.numel() == 0 or new.numel() == 0:
            return
        radius = min(radius, float(value[new].max())) / self.points.keep
        src, dst = self.lifted.select(new), self.lifted.select(old)
        # A few new points are searched from: what is far from them is not looked at.
        number = new.numel() / src.component.unique().numel()
        swap = DENSE_SOURCES < number <= FEW_SOURCES
        pair = (dst, src) if swap else (src, dst)
        edges = edges_within(self.group, *pair, radius, None, self.max_pairs)
        for edge, _, distance in edges:
            target = edge[0] if swap else edge[1]
            value.scatter_reduce_(0, old[target], distance, "amin")


def _choose_among(points: Points, first: Tensor, small: Tensor, pairs: Pairs) -> None:
    r"""Chooses all points of the small components, of which all pairs are known."""
    chosen = torch.zeros_like(points.open)
    chosen[first] = True
    _lower(points.value, chosen, pairs)
    a, b, distance = pairs
    ordered = points.rank[a] < points.rank[b]
    pairs = torch.where(ordered, a, b), torch.where(ordered, b, a), distance
    floor = torch.where(small, -torch.inf, torch.inf).to(points.value)
    _choose_sure(points, pairs, floor)


def _choose_sure(points: Points, pairs: Pairs, floor: Tensor) -> None:
    r"""Chooses points as long as one is sure: closes them and lowers the values of
    the others.

    A point comes after another if its value is smaller; the values being equal to
    rounding, after one of smaller rank and no smaller value. A point of smaller rank
    and smaller value, but equal to rounding, may come before or after: that depends
    on the largest value at that time. Such pairs wait until they have the
    largest values themselves, from :obj:`level` on: there, rank decides.

    Args:
        points (Points): The candidates; changed in place.
        pairs (tuple): Their pairs.
        floor (torch.Tensor): The largest value of each component that
            is left out, :math:`(C,)`: values equal to it are not sure.
    """
    value, _, component, is_open = points
    enough = floor[component] / points.keep
    level: Tensor | None = None
    keep, (a, b, distance) = points.keep, pairs
    while True:
        now = torch.where(is_open, value, -torch.inf)
        value_a, value_b = now.index_select(0, a), now.index_select(0, b)
        later = value_a < value_b * keep
        near = distance * keep < torch.minimum(value_a, value_b)
        near = near.nonzero().view(-1)
        a, b, distance, later, value_a, value_b = _at(
            near, a, b, distance, later, value_a, value_b
        )
        if level is not None:
            value_b = torch.minimum(value_b, level.index_select(0, a))
        sooner = value_a >= value_b

        sure = now > enough
        free = sure.index_fill(0, torch.where(later, a, b), False)
        loser = torch.where(sooner, b, a)  # both are, where neither is known
        free.index_fill_(0, loser, False)
        if bool(free.any()):
            winner = torch.where(sooner, a, b)
            lowered = torch.where(free.index_select(0, winner), distance, torch.inf)
            value.scatter_reduce_(0, loser, lowered, "amin")
        elif bool(sure.any()):
            following, bar = _next(points, floor.numel())
            free[following] = sure[following]
            if not bool(free.any()):
                return
            _lower(value, free, (a, b, distance))
            equal = is_open & (value >= bar[component])
            many = points.how_many(equal, floor.numel()) > MANY
            level = torch.where(many, bar, torch.inf)[component]
        else:
            return
        is_open.masked_fill_(free, False)


def _at(index: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
    r"""The entries of each of these vectors at :obj:`index`."""
    return tuple(value.index_select(0, index) for value in values)


def _lower(value: Tensor, new: Tensor, pairs: Pairs) -> None:
    r"""Lowers values to the distances from the points of a mask."""
    a, b, distance = pairs
    from_a, from_b = new.index_select(0, a), new.index_select(0, b)
    near = (from_a | from_b).nonzero().view(-1)
    a, b, distance, from_a = _at(near, a, b, distance, from_a)
    other = torch.where(from_a, b, a)
    value.scatter_reduce_(0, other, distance, "amin")


def _next(points: Points, num_components: int) -> tuple[Tensor, Tensor]:
    r"""Finds the open point of each component that comes next, and the value
    from which on those after it are equal to the largest one, :math:`(C,)`.

    Chosen points of about the same value take part: some may come later.
    """
    top = points.largest(points.open, num_components)[points.component]
    reach = REACH * (1 - points.keep)
    around = (points.value >= top * (1 - reach)) & (points.value <= top * (1 + reach))
    index = around.nonzero().view(-1)
    index = index[_turns(points.select(index))]
    near = points.select(index)
    turn = torch.arange(index.numel(), device=index.device)
    last = torch.full_like(top, index.numel(), dtype=torch.long)[:1]
    first = last.expand(num_components).scatter_reduce(
        0, near.component[near.open], turn[near.open], "amin"
    )
    level = near.largest(turn >= first[near.component], num_components) * points.keep
    return index[first[first < index.numel()]], level


def _turns(points: Points) -> Tensor:
    r"""The order in which points of these values come, component by component."""
    order = points.rank.argsort()
    order = order[points.value[order].argsort(descending=True, stable=True)]
    order = order[points.component[order].argsort(stable=True)]
    value, rank, component, _ = points.select(order)
    # Chains of equal values: all of one come before all of the next.
    gap = (value[1:] < value[:-1] * points.keep) | (component[1:] > component[:-1])
    if bool(gap.all()):
        return order
    chain = torch.cat([rank.new_zeros(1), gap.cumsum(0)])
    step, steps = torch.zeros_like(chain), 1
    left = torch.arange(chain.numel(), device=chain.device)
    while left.numel() > 0:
        # As long as a largest value is left, those equal to it come by rank.
        now = Points(value[left], rank[left], chain[left], left >= 0)
        top = now.largest(now.open, chain.numel())[now.component]
        equal = now.value == top
        bound = chain.new_full(chain.shape, -1).scatter_reduce(
            0, now.component, torch.where(equal, now.rank, -1), "amax"
        )
        done = (now.value >= top * now.keep) & (now.rank <= bound[now.component])
        left = left[~done]
        step[left] = steps
        steps += 1
    by_rank = rank.argsort()
    return order[by_rank[(chain * steps + step)[by_rank].argsort(stable=True)]]


def _first_in_turn(points: Points, index: Tensor, wanted: Tensor) -> Tensor:
    r"""The mask of the points that come first among those at :obj:`index`, as many as
    wanted of each component; open ones come last.
    """
    few = points.select(index)
    few = few._replace(value=torch.where(few.open, 0.0, few.value))
    order = _turns(few)
    component = few.component[order]
    start = torch.searchsorted(
        component, torch.arange(wanted.numel(), device=component.device)
    )
    turn = torch.arange(order.numel(), device=order.device) - start[component]
    kept = torch.zeros_like(points.open)
    kept[index[order[turn < wanted[component]]]] = True
    return kept
