"""Lie groups: tensors in, tensors out."""

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.galilei import Galilei
from lieconv_pyg.groups.linear import LinearLieGroup
from lieconv_pyg.groups.lorentz import Lorentz
from lieconv_pyg.groups.matrix import MatrixLieGroup
from lieconv_pyg.groups.planar import SO2, Rx, RxSO2
from lieconv_pyg.groups.resolver import group_resolver
from lieconv_pyg.groups.se2 import SE2
from lieconv_pyg.groups.se3 import SE3
from lieconv_pyg.groups.sim2 import SIM2
from lieconv_pyg.groups.smooth import SmoothSO
from lieconv_pyg.groups.so3 import SO3
from lieconv_pyg.groups.squeeze import SQ, RxSQ
from lieconv_pyg.groups.subgroup import Subgroup
from lieconv_pyg.groups.translation import T, Tx, Ty
from lieconv_pyg.groups.trivial import Trivial

__all__ = [
    "SE2",
    "SE3",
    "SIM2",
    "SO2",
    "SO3",
    "SQ",
    "Galilei",
    "LieGroup",
    "LinearLieGroup",
    "Lorentz",
    "MatrixLieGroup",
    "Rx",
    "RxSO2",
    "RxSQ",
    "SmoothSO",
    "Subgroup",
    "T",
    "Trivial",
    "Tx",
    "Ty",
    "group_resolver",
]
