"""Graphs over lifted points: which are near in the group distance."""

from lieconv_pyg.neighbors.calibration import calibrate_radius
from lieconv_pyg.neighbors.envelope import PolynomialEnvelope
from lieconv_pyg.neighbors.fps import farthest_points
from lieconv_pyg.neighbors.knn import knn_graph
from lieconv_pyg.neighbors.pairs import Neighborhood, pair_coordinates
from lieconv_pyg.neighbors.radius import radius_graph
from lieconv_pyg.neighbors.sampling import hashed_keys, sample_neighbors
from lieconv_pyg.neighbors.search import available_backends

__all__ = [
    "Neighborhood",
    "PolynomialEnvelope",
    "available_backends",
    "calibrate_radius",
    "farthest_points",
    "hashed_keys",
    "knn_graph",
    "pair_coordinates",
    "radius_graph",
    "sample_neighbors",
]
