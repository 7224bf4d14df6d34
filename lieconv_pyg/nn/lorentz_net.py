from typing import Optional

import torch
from torch import Tensor
from torch.nn import Dropout, Linear, ReLU, Sequential
from torch_geometric.nn.inits import reset
from torch_geometric.utils import scatter

from lieconv_pyg.groups.checks import positive
from lieconv_pyg.neighbors.layout import example_pairs
from lieconv_pyg.nn.inputs import check_momenta
from lieconv_pyg.nn.invariant_metric_conv import InvariantMetricConv, signed_log

MINKOWSKI = (1.0, -1.0, -1.0, -1.0)
# A squared mass that is less than so many rounding errors of the squared energy is 0:
# the root would make them large.
_ROUNDING = 1024


class LorentzNet(torch.nn.Module):
    r"""The network of `"An Efficient Lorentz Equivariant Graph Neural Network for Jet
    Tagging" <https://arxiv.org/abs/2201.08187>`_ (Gong et al., JHEP 2022), of
    :class:`InvariantMetricConv` with :math:`J = \mathrm{diag}(1, -1, -1, -1)` between
    all constituents of a jet: a baseline for :class:`~lieconv_pyg.nn.JetLieResNet`,
    with the same call.

    Each constituent has the scalar :math:`\psi(\sqrt{|m^2|})`, with :math:`m` its mass
    and :math:`\psi(s) = \mathrm{sign}(s) \log(1 + |s|)`, which every layer is given
    again. The features of a jet are the mean over its points after the last layer.

    With :obj:`beams=False` outputs are invariant to boosts, rotations and reflections,
    in evaluation up to rounding. The two beam particles, which the published network
    adds to each jet, leave of these the ones that keep the beam where it is: the
    rotations about it. Momenta and invariants are in float64, whatever the weights are
    in.

    It differs from the published code in two points: :math:`\phi_x` is clamped where
    there the coordinates are that it multiplies, which breaks the symmetry; and the
    embedding of the scalars has no bias.

    Args:
        out_channels (int, optional): Outputs of each jet. (default: :obj:`2`)
        hidden_channels (int, optional): Width. (default: :obj:`72`)
        num_layers (int, optional): Number of layers, of which the last does not move
            points. (default: :obj:`6`)
        dropout (float, optional): In the last MLP. (default: :obj:`0.2`)
        step (float, optional): The number :math:`c` of the layers.
            (default: :obj:`5e-3`)
        beams (bool, optional): Adds the particles :math:`(\sqrt 2, 0, 0, \pm 1)` to
            each jet, with a scalar of their own. (default: :obj:`True`)

    Shapes:
        - **input:** four-momenta :math:`(E, p_x, p_y, p_z)` in GeV, :math:`(N, 4)`,
          batch vector :math:`(N)` *(optional)*
        - **output:** :math:`(B, F_{out})`

    Raises:
        ValueError: If a size or the dropout is out of range.
    """

    def __init__(
        self,
        out_channels: int = 2,
        hidden_channels: int = 72,
        num_layers: int = 6,
        dropout: float = 0.2,
        step: float = 5e-3,
        beams: bool = True,
    ) -> None:
        super().__init__()
        self.out_channels = positive(out_channels, "out_channels")
        self.hidden_channels = positive(hidden_channels, "hidden_channels")
        self.num_layers = positive(num_layers, "num_layers")
        if not 0 <= dropout < 1:
            raise ValueError(f"'dropout' must be in [0, 1) (got {dropout})")
        self.beams = beams
        scalars = 2 if beams else 1
        # Without a bias massless constituents begin with 0: features that are the same
        # everywhere have no spread, and batch norm would follow their mean too late.
        self.embedding = Linear(scalars, hidden_channels, bias=False)
        self.layers = torch.nn.ModuleList(
            InvariantMetricConv(
                hidden_channels,
                torch.tensor(MINKOWSKI).diag(),
                num_scalars=scalars,
                update_pos=layer < num_layers - 1,
                step=step,
            )
            for layer in range(num_layers)
        )
        self.readout = Sequential(
            Linear(hidden_channels, hidden_channels),
            ReLU(),
            Dropout(dropout),
            Linear(hidden_channels, out_channels),
        )

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        for module in (self.embedding, self.layers, self.readout):
            reset(module)

    def forward(
        self,
        pos: Tensor,
        batch: Optional[Tensor] = None,
        batch_size: Optional[int] = None,
    ) -> Tensor:
        r"""Applies the network.

        Args:
            pos: Four-momenta :math:`(N, 4)`.
            batch: Batch vector :math:`(N)`, sorted.
            batch_size: Number of jets, if it is known.
        """
        dtype = pos.dtype
        pos, batch, size = check_momenta(pos, batch, batch_size)
        scalars = signed_log(masses(pos, dtype)).unsqueeze(1)
        if self.beams:
            pos, batch, scalars = _with_beams(pos, batch, scalars, size)
        scalars = scalars.to(self.embedding.weight.dtype)
        edge_index = example_pairs(batch)
        x = self.embedding(scalars)
        for layer in self.layers:
            x, pos = layer(x, pos, edge_index, scalars)
        return self.readout(scatter(x, batch, 0, size, "mean"))

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}(hidden_channels={self.hidden_channels}, "
            f"num_layers={self.num_layers}, beams={self.beams})"
        )


def masses(pos: Tensor, dtype: torch.dtype) -> Tensor:
    r"""The masses :math:`\sqrt{|m^2|}` of momenta :math:`(N, 4)` that were given in
    this precision, and 0 where :math:`m^2` is rounding."""
    square = (pos.square() * pos.new_tensor(MINKOWSKI)).sum(1).abs()
    noise = _ROUNDING * torch.finfo(dtype).eps * pos[:, 0].square()
    massive = square > noise
    # The root of the safe argument has finite gradients.
    root = torch.where(massive, square, 1.0).sqrt()
    return torch.where(massive, root, 0.0)


def _with_beams(
    pos: Tensor, batch: Tensor, scalars: Tensor, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Points with two beam particles in front of each jet, and scalars (beam,
    constituent)."""
    pair = pos.new_tensor([[2**0.5, 0, 0, 1], [2**0.5, 0, 0, -1]])
    beam = signed_log(masses(pair, torch.double)).unsqueeze(1)
    jets = torch.arange(size, device=batch.device).repeat_interleave(2)
    batch, order = torch.cat([jets, batch]).sort(stable=True)
    pos = torch.cat([pair.repeat(size, 1), pos])[order]
    first = torch.cat([beam.repeat(size, 1), torch.zeros_like(scalars)])
    second = torch.cat([beam.new_zeros(2 * size, 1), scalars])
    return pos, batch, torch.cat([first, second], dim=1)[order]
