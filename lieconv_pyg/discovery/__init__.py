"""From data to symmetry: learned bases of Lie algebras, judged and cleaned."""

from lieconv_pyg.discovery.clean import clean_basis
from lieconv_pyg.discovery.metric import InvariantMetric, invariant_metric
from lieconv_pyg.discovery.score import BasisScore, score_basis

__all__ = [
    "BasisScore",
    "InvariantMetric",
    "clean_basis",
    "invariant_metric",
    "score_basis",
]
