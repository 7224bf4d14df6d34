from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.groups import LieGroup
from lieconv_pyg.lifting import Lifted
from lieconv_pyg.neighbors import Neighborhood
from lieconv_pyg.nn.resolution import Resolution, make_resolution

Found = tuple[Lifted, list[Resolution]]
_TRAINING = 1 << 20  # the number before those of the samples in training


class SharedGrid(torch.nn.Module):
    r"""The points that all examples of a data set share, such as the pixels of images,
    and what a network works on there: lifts, kept points, neighbours and their pair
    coordinates. They are saved with the network.

    Args:
        group (LieGroup): The group.
        settings (str, optional): What else lifts and kept points follow from: a grid
            that was saved with others is not taken.
    """

    def __init__(self, group: LieGroup, settings: str = "") -> None:
        super().__init__()
        self.group = group
        self.settings = settings
        self._tensors: dict[str, Tensor] = {}
        self._found: dict[int, Found] = {}
        self._steps = 0
        self.is_provisional = False
        self.register_buffer("_place", torch.empty(0), persistent=False)

    @property
    def is_set(self) -> bool:
        """Whether there is a grid."""
        return bool(self._tensors)

    @property
    def pos(self) -> Tensor:
        """The points :math:`(n, d)`."""
        return self._tensors["pos"]

    def fits(self, pos: Tensor) -> bool:
        """Whether points :math:`(*, n, d)` are those of the grid, to rounding."""
        if pos.shape[-2:] != self.pos.shape:
            return False
        difference = (pos - self.pos).abs().max()
        return bool(difference <= 1e-5 * self.pos.abs().max())

    def set(
        self,
        pos: Tensor,
        lifted: Lifted,
        resolutions: Sequence[Resolution],
        provisional: bool = False,
    ) -> None:
        """Keeps a grid, and what was computed for it: provisionally, if it was found in
        a batch and nobody asked for it."""
        self.is_provisional = provisional
        found = {f"lifted.{name}": value for name, value in lifted._asdict().items()}
        which, last = [], -1
        for number, now in enumerate(resolutions):
            if number == 0 or now is not resolutions[number - 1]:
                last += 1
                parts = {"keep": now.keep} | now.graph._asdict()
                found |= {
                    f"{last}.{name}": value
                    for name, value in parts.items()
                    if value is not None
                }
            which.append(last)
        found |= {"pos": pos, "which": torch.tensor(which, device=pos.device)}
        self._tensors = {name: value.detach().clone() for name, value in found.items()}
        self._found = {}

    def clear(self) -> None:
        """Forgets the grid."""
        self._tensors, self._found, self._steps = {}, {}, 0
        self.is_provisional = False

    def found(self, sample: int, compute: Callable[[Tensor, int], Found]) -> Found:
        """Lifted points, and what each block works on: what is kept, for sample 0, or
        what is computed for another one, once."""
        if sample not in self._found:
            others = sample > 0
            self._found[sample] = (
                compute(self.pos, sample) if others else self._restored()
            )
        return self._found[sample]

    def drawn(
        self, every: int | None, compute: Callable[[Tensor, int], Found]
    ) -> Found:
        """The same for a step of the training, in which lifts are drawn anew every so
        many steps, if at all."""
        number = 0 if every is None else self._steps // every
        self._steps += 1
        if number == 0:
            return self.found(0, compute)
        sample = _TRAINING + number
        if sample not in self._found:
            self._found = {s: f for s, f in self._found.items() if s < _TRAINING}
        return self.found(sample, compute)

    def _restored(self) -> Found:
        lifted = Lifted(*(self._tensors[f"lifted.{f}"] for f in Lifted._fields))
        return lifted, self._resolutions(lifted)

    def _resolutions(self, lifted: Lifted) -> list[Resolution]:
        out: list[Resolution] = []
        which = self._tensors["which"].tolist()
        for block, number in enumerate(which):
            if block > 0 and number == which[block - 1]:
                out.append(out[-1])
                continue
            head = f"{number}."
            parts = {
                name.removeprefix(head): value
                for name, value in self._tensors.items()
                if name.startswith(head)
            }
            keep = parts.pop("keep", None)
            kept = lifted if keep is None else lifted.select(keep)
            out.append(make_resolution(lifted, kept, Neighborhood(**parts), keep))
            lifted = kept
        return out

    def _apply(self, fn: Callable, recurse: bool = True) -> "SharedGrid":
        self._tensors = {name: fn(value) for name, value in self._tensors.items()}
        self._found = {}
        super()._apply(fn, recurse)
        return self

    def get_extra_state(self) -> dict[str, Any]:
        """What is saved."""
        if not self.is_set:
            return {}
        steps = torch.tensor(self._steps)
        return {"settings": self.settings, "steps": steps, **self._tensors}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Takes what was saved.

        Raises:
            ValueError: If it is no grid, or one of other settings.
        """
        if not isinstance(state, dict) or (state and "pos" not in state):
            raise ValueError("the saved grid is none: the file is damaged")
        place, state = self._place, dict(state)
        settings = state.pop("settings", self.settings)
        if settings != self.settings:
            raise ValueError(
                f"the saved grid is of {settings}, and the network has {self.settings}"
            )
        self._steps = int(state.pop("steps", 0))
        self.is_provisional = False
        self._tensors = {
            name: value.to(place if value.is_floating_point() else place.device)
            for name, value in state.items()
        }
        self._found = {}

    def extra_repr(self) -> str:
        """What is printed between the brackets."""
        return f"{len(self.pos)} points" if self.is_set else "none"
