"""Smooth ends of a neighborhood."""

from torch import Tensor
from torch.nn import Module

from lieconv_pyg.groups.series import polynomial


class PolynomialEnvelope(Module):
    r"""The polynomial envelope of `"Directional Message Passing for Molecular
    Graphs" <https://arxiv.org/abs/2003.03123>`_ (Equation 8).

    .. math::
        w(t) = 1 - \frac{(p + 1)(p + 2)}{2} t^p + p (p + 2) t^{p + 1}
        - \frac{p (p + 1)}{2} t^{p + 2}, \quad t = d / r,

    and :math:`0` for :math:`t \geq 1`: it takes the weight of a neighbor to
    zero at the radius, with two continuous derivatives.

    Args:
        p (int, optional): The exponent, at least two. The larger, the
            longer the weight stays close to one. (default: :obj:`6`)

    Shapes:
        - **input:** relative distances :math:`t` of any shape
        - **output:** weights of the same shape
    """

    def __init__(self, p: int = 6) -> None:
        super().__init__()
        if isinstance(p, bool) or not isinstance(p, int):
            raise TypeError(f"'p' must be an integer, got {p!r}")
        if p < 2:
            raise ValueError(f"'p' must be at least 2, got {p}")
        self.p = p

    def forward(self, t: Tensor) -> Tensor:
        """The weights at relative distances."""
        # The same polynomial as (1 - t)^3 times one with positive coefficients, which
        # rounding cannot make negative.
        t = t.clamp(max=1.0)
        coefficients = [(k + 1) * (k + 2) / 2 for k in range(self.p)]
        return (1 - t) ** 3 * polynomial(t, coefficients)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}(p={self.p})"
