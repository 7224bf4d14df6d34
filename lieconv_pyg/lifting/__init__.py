"""From points to lifted points: pairs of a group element and an orbit label."""

from lieconv_pyg.lifting.frames import Frames, frames
from lieconv_pyg.lifting.lift import lift
from lieconv_pyg.lifting.lift_frames import lift_frames
from lieconv_pyg.lifting.lifted import Lifted
from lieconv_pyg.lifting.momenta import (
    jet_frame,
    massive_surrogate,
    momentum_products,
)
from lieconv_pyg.lifting.validation import check_points_and_batch

__all__ = [
    "Frames",
    "Lifted",
    "check_points_and_batch",
    "frames",
    "jet_frame",
    "lift",
    "lift_frames",
    "massive_surrogate",
    "momentum_products",
]
