"""The workloads of the benchmarks: synthetic points, and the network for them."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Batch

from lieconv_pyg import ImageLieResNet, LieResNet
from lieconv_pyg.dynamics import HLieResNet, Springs
from lieconv_pyg.dynamics.integrate import solve
from lieconv_pyg.groups import SO3, T, group_resolver
from lieconv_pyg.images import ImageToPoints

NAMES = (
    *("qm9-t3-1536", "qm9-t3-256", "qm9-se3-256", "cloud-N", "springs-384"),
    *("rotmnist-t2", "rotmnist-so2", "rotmnist-se2", "shapes-N"),
)


@dataclass(frozen=True)
class Workload:
    """Examples of random points with features and one target each, and the settings
    of a LieResNet with batch norm for them."""

    name: str
    group: str
    hidden_channels: int
    num_layers: int
    batch_size: int
    num_points: tuple[int, int]  # least and most points of an example
    in_channels: int = 15
    num_lifts: int = 1
    fill: float = 1.0
    num_neighbors: int | None = None  # drawn from the ball

    def data(self, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features (N, F), points (N, 3), batch vector (N), targets (B, 1)."""
        random = torch.Generator().manual_seed(seed)
        low, high = self.num_points
        counts = torch.randint(low, high + 1, (self.batch_size,), generator=random)
        batch = torch.arange(self.batch_size).repeat_interleave(counts)
        x = torch.randn(batch.numel(), self.in_channels, generator=random)
        pos = torch.rand(batch.numel(), 3, generator=random)
        y = torch.randn(self.batch_size, 1, generator=random)
        return x, pos, batch, y

    def network(self, backend: str | None = None) -> LieResNet:
        """The network, not yet calibrated."""
        return LieResNet(
            self.in_channels,
            1,
            group_resolver(self.group),
            hidden_channels=self.hidden_channels,
            num_layers=self.num_layers,
            num_lifts=self.num_lifts,
            fill=self.fill,
            num_neighbors=self.num_neighbors,
            backend=backend,
        )


@dataclass(frozen=True)
class SpringsWorkload:
    """Systems of six particles joined by springs, a rollout of five states by RK4, and
    its squared error; HLieResNet with T(2), without norms."""

    name: str = "springs-384"
    hidden_channels: int = 384
    num_layers: int = 4
    batch_size: int = 200
    num_states: int = 5

    def data(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Parameters (N, 2), states (N, 4), batch vector (N), times (T), targets
        (T, N, 4)."""
        batch = Batch.from_data_list(Springs().sample(self.batch_size))
        state = torch.cat([batch.pos, batch.momentum], dim=1).float()
        times = 0.01 * torch.arange(self.num_states, dtype=torch.double)
        random = torch.Generator().manual_seed(0)
        targets = torch.randn(self.num_states, *state.shape, generator=random)
        return batch.x.float(), state, batch.batch, times, targets

    def network(self) -> HLieResNet:
        """The network."""
        return HLieResNet(
            T(2), hidden_channels=self.hidden_channels, num_layers=self.num_layers
        )

    def loss(
        self, network: HLieResNet, *data: Tensor, recompute: bool = False
    ) -> Tensor:
        """The squared error of the rollout."""
        x, state, batch, times, targets = data

        def derivative(t: Tensor, z: Tensor) -> Tensor:
            found = network(x, *z.chunk(2, dim=1), batch, self.batch_size)
            return torch.cat(found, dim=1)

        parameters = network.parameters() if recompute else None
        found = solve(derivative, state, times, recompute=parameters)
        return (found - targets).square().mean()


@dataclass(frozen=True)
class ImageWorkload:
    """Images of 28 by 28 random pixels, of which 648 are kept, their classes, and the
    published ImageLieResNet for them."""

    name: str
    group: str
    num_lifts: int = 1
    batch_size: int = 25
    size: int = 28
    hidden_channels: int = 128
    num_layers: int = 6
    total_ratio: float = 0.1
    fill: float = 1 / 15
    num_neighbors: int = 25

    def images(self) -> tuple[Tensor, Tensor]:
        """Images (B, 1, H, W) and their classes (B)."""
        random = torch.Generator().manual_seed(0)
        shape = self.batch_size, 1, self.size, self.size
        images = torch.randn(shape, generator=random)
        return images, torch.randint(10, (self.batch_size,), generator=random)

    def data(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features (N, 1), points (N, 2), batch vector (N), classes (B)."""
        batch = ImageToPoints().batch(*self.images())
        return batch.x, batch.pos, batch.batch, batch.y

    def network(self, backend: str | None = None) -> ImageLieResNet:
        """The network, not yet calibrated."""
        return ImageLieResNet(
            group_resolver(self.group),
            hidden_channels=self.hidden_channels,
            num_layers=self.num_layers,
            total_ratio=self.total_ratio,
            fill=self.fill,
            num_neighbors=self.num_neighbors,
            num_lifts=self.num_lifts,
            augment=False,
            backend=backend,
        )


@dataclass(frozen=True)
class ShapesWorkload:
    """Points on spheres, cubes, tori and cylinders in random positions, their classes,
    and an ImageLieResNet that keeps a quarter of the points in each block, 32
    neighbours on average."""

    name: str
    num_points: int
    batch_size: int = 1
    group: str = "T(3)"

    def data(self) -> tuple[None, Tensor, Tensor, Tensor]:
        """No features, points (N, 3), batch vector (N), classes (B)."""
        random = torch.Generator().manual_seed(0)
        y = torch.arange(self.batch_size) % len(SHAPES)
        rotation = SO3().sample(self.batch_size, generator=random)
        pos = torch.stack(
            [
                SO3().act(turn, SHAPES[kind](self.num_points, random))
                for kind, turn in zip(y.tolist(), rotation, strict=True)
            ]
        )
        pos = pos + 0.01 * torch.randn(pos.shape, generator=random)
        batch = torch.arange(self.batch_size).repeat_interleave(self.num_points)
        return None, pos.flatten(0, 1), batch, y

    def network(self, backend: str | None = None) -> ImageLieResNet:
        """The network, not yet calibrated."""
        return ImageLieResNet(
            group_resolver(self.group),
            out_channels=len(SHAPES),
            hidden_channels=32,
            num_layers=3,
            total_ratio=1 / 64,
            fill=32 / self.num_points,
            num_neighbors=None,
            backend=backend,
        )


def _sphere(number: int, random: torch.Generator) -> Tensor:
    return F.normalize(torch.randn(number, 3, generator=random), dim=1)


def _cube(number: int, random: torch.Generator) -> Tensor:
    pos = 2 * torch.rand(number, 3, generator=random) - 1
    face = torch.randint(3, (number, 1), generator=random)
    return pos.scatter(1, face, pos.gather(1, face).sign())


def _torus(number: int, random: torch.Generator) -> Tensor:
    a, b = 2 * torch.pi * torch.rand(2, number, generator=random)
    radius = 1 + 0.4 * b.cos()
    return torch.stack([radius * a.cos(), radius * a.sin(), 0.4 * b.sin()], dim=1)


def _cylinder(number: int, random: torch.Generator) -> Tensor:
    a = 2 * torch.pi * torch.rand(number, generator=random)
    height = 2 * torch.rand(number, generator=random) - 1
    return torch.stack([a.cos(), a.sin(), height], dim=1)


SHAPES = (_sphere, _cube, _torus, _cylinder)

AnyWorkload = Workload | SpringsWorkload | ImageWorkload | ShapesWorkload


def _number(name: str, family: str) -> int | None:
    """The number of points in the name of a workload of that family."""
    number = name.removeprefix(family)
    known = name.startswith(family) and number.isdecimal() and int(number) >= 64
    return int(number) if known else None


def workload(name: str, batch_size: int | None = None) -> AnyWorkload:
    """The workload of that name, with another number of examples if asked for.

    Raises:
        ValueError: if there is none.
    """
    molecules = (13, 23)
    if name == "qm9-t3-1536":
        out = Workload(name, "T(3)", 1536, 6, 25, molecules)
    elif name == "qm9-t3-256":
        out = Workload(name, "T(3)", 256, 4, 25, molecules)
    elif name == "qm9-se3-256":
        out = Workload(
            *(name, "SE(3)", 256, 4, 8, molecules),
            num_lifts=4,
            fill=0.5,
            num_neighbors=25,
        )
    elif (number := _number(name, "cloud-")) is not None:
        out = Workload(
            *(name, "T(3)", 64, 2, 1, (number, number)),
            in_channels=3,
            fill=32 / number,
        )
    elif name == "springs-384":
        out = SpringsWorkload()
    elif (number := _number(name, "shapes-")) is not None:
        out = ShapesWorkload(name, number)
    elif name == "rotmnist-t2":
        out = ImageWorkload(name, "T(2)")
    elif name == "rotmnist-so2":
        out = ImageWorkload(name, "SO(2)")
    elif name == "rotmnist-se2":
        out = ImageWorkload(name, "SE(2)", num_lifts=2)
    else:
        raise ValueError(
            f"no workload is called {name!r}: choose from {', '.join(NAMES)}, with a "
            "number N of at least 64 points"
        )
    return out if batch_size is None else replace(out, batch_size=batch_size)
