r"""LieConv, the Lie-group equivariant convolution, as a PyTorch Geometric layer."""

import warnings

with warnings.catch_warnings():
    # PyG says that it ignores torch-cluster, which this package calls by itself, and
    # scripts classes when it is imported: nothing that a user could act on.
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.simplefilter("ignore", FutureWarning)
    import torch_geometric  # noqa: F401

from lieconv_pyg import groups, neighbors, nn, transforms
from lieconv_pyg.checkpoints import load
from lieconv_pyg.equivariance import equivariance_error
from lieconv_pyg.lifting import Lifted, lift, lift_frames
from lieconv_pyg.nn import (
    ImageLieResNet,
    LieConv,
    LieResNet,
    MoleculeLieResNet,
    load_original_state_dict,
)

__version__ = "0.1.0"

__all__ = [
    "ImageLieResNet",
    "LieConv",
    "LieResNet",
    "Lifted",
    "MoleculeLieResNet",
    "equivariance_error",
    "groups",
    "lift",
    "lift_frames",
    "load",
    "load_original_state_dict",
    "neighbors",
    "nn",
    "transforms",
]
