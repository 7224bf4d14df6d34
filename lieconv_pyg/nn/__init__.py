r"""Layers and networks."""

from lieconv_pyg.nn.blocks import BottleneckBlock
from lieconv_pyg.nn.egnn import EGNN, EGNNConv
from lieconv_pyg.nn.fields import FieldLieResNet, FieldStatistics, field_statistics
from lieconv_pyg.nn.group_neighborhood import GroupNeighborhood
from lieconv_pyg.nn.images import ImageLieResNet
from lieconv_pyg.nn.invariant_metric_conv import InvariantMetricConv
from lieconv_pyg.nn.jets import JetLieResNet
from lieconv_pyg.nn.lie_conv import LieConv
from lieconv_pyg.nn.lie_resnet import LieResNet
from lieconv_pyg.nn.lift import Lift
from lieconv_pyg.nn.lorentz_net import LorentzNet
from lieconv_pyg.nn.molecules import MoleculeLieResNet
from lieconv_pyg.nn.original import load_original_state_dict
from lieconv_pyg.nn.relaxed import RelaxedLieConv, relaxation_penalty
from lieconv_pyg.nn.residual_pathway import RPPLieConv, pathway_prior

__all__ = [
    "EGNN",
    "BottleneckBlock",
    "EGNNConv",
    "FieldLieResNet",
    "FieldStatistics",
    "GroupNeighborhood",
    "ImageLieResNet",
    "InvariantMetricConv",
    "JetLieResNet",
    "LieConv",
    "LieResNet",
    "Lift",
    "LorentzNet",
    "MoleculeLieResNet",
    "RPPLieConv",
    "RelaxedLieConv",
    "field_statistics",
    "load_original_state_dict",
    "pathway_prior",
    "relaxation_penalty",
]
