"""Euclidean radius search behind one interface."""

import importlib
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor

from lieconv_pyg.neighbors.cells import cell_candidates
from lieconv_pyg.neighbors.layout import Layout, split_pairs

BACKENDS = ("torch_cluster", "pyg_lib", "torch")
REMEDY = {
    "torch_cluster": "Install it with: pip install --no-build-isolation "
    "torch-cluster (extra 'cluster' of this package)",
    "pyg_lib": "Install pyg-lib>=0.6.0 with the wheels for your PyTorch version "
    "(see the installation page of PyG)",
}
CUDA_SLOTS = 2**24  # output slots that a library may allocate in one call
CUDA_GUESS = 256  # neighbors a target that are tried first on CUDA


@cache
def _load(name: str) -> Any:
    r"""The radius search of a library, or the reason why there is none."""
    try:
        importlib.import_module(name)
        namespace = "torch_cluster" if name == "torch_cluster" else "pyg"
        return getattr(torch.ops, namespace).radius
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"


def available_backends(device: torch.device | None = None) -> list[str]:
    r"""Returns the names of the neighbor searches that work here, the
    preferred one first.

    Args:
        device (torch.device, optional): The device to search on.
            (default: the CPU)
    """
    return [name for name in BACKENDS if _problem(name, device) is None]


def _problem(name: str, device: torch.device | None = None) -> str | None:
    if name == "torch":
        return None
    operator = _load(name)
    if isinstance(operator, str):
        return operator
    kind = "cpu" if device is None else device.type
    if kind == "cpu" or (kind == "cuda" and _has_cuda(name)):
        return None
    return f"built without support for {kind}"


def _has_cuda(name: str) -> bool:
    if name == "torch_cluster":
        return torch.ops.torch_cluster.cuda_version() > 0
    return torch._C._dispatch_has_kernel_for_dispatch_key("pyg::radius", "CUDA")


@cache
def _warn_fallback(kind: str) -> None:
    warnings.warn(
        f"Neither torch-cluster nor pyg-lib can search neighbors on "
        f"{kind!r} here; the slower search in plain PyTorch takes over (same "
        f"neighbors). {REMEDY['torch_cluster']}. Pass backend='torch' to use it "
        f"without this warning",
        stacklevel=2,
    )


def resolve_backend(name: str | None, device: torch.device) -> str:
    r"""Returns the backend to use: the one asked for, else the first that
    works on this device.

    Raises:
        ValueError: If there is no backend of this name.
        ImportError: If the backend is not installed, or not for this device.
    """
    if name is None:
        name = available_backends(device)[0]
        if name == "torch":
            _warn_fallback(device.type)
        return name
    if name not in BACKENDS:
        raise ValueError(
            f"'backend' must be one of {list(BACKENDS)}, got {name!r}. Available "
            f"here: {available_backends(device)}"
        )
    problem = _problem(name, device)
    if problem is not None:
        raise ImportError(
            f"backend={name!r} cannot be used on {device.type!r} ({problem}). "
            f"{REMEDY[name]}, or use one of {available_backends(device)}"
        )
    return name


def candidates(
    layout: Layout,
    x: Tensor,
    y: Tensor,
    radius: float,
    backend: str,
    max_pairs: int,
) -> Iterator[Tensor]:
    r"""Searches pairs within a component with :math:`\|x_j - y_i\| \leq r`;
    pairs on the boundary may be missing.

    Args:
        layout (Layout): The components of sources and targets.
        x (torch.Tensor): The sources :math:`(M_s, k)`.
        y (torch.Tensor): The targets :math:`(M_t, k)`.
        radius (float): The radius :math:`r`.
        backend (str): A name that :func:`resolve_backend` returned.
        max_pairs (int): The number of pairs in a chunk: no more than that
            and the pairs of one target.

    Yields:
        Chunks :math:`(2, P)` of sources and targets, in the order of the
        targets.
    """
    if x.size(0) == 0 or y.size(0) == 0:
        return
    if backend == "torch":
        yield from cell_candidates(layout, x, y, radius, max_pairs)
        return
    if x.device.type == "cpu":  # allocates what it finds: one call for all
        found = _call(backend, layout, x, y, radius, _largest(layout))
        yield from split_pairs(found, y.size(0), max_pairs)
        return
    for found in slotted_candidates(layout, x, y, radius, backend):
        yield from split_pairs(found, y.size(0), max_pairs)


def _largest(layout: Layout) -> int:
    return max(1, int(layout.ptr.diff().max()))


def _call(
    backend: str, layout: Layout, x: Tensor, y: Tensor, radius: float, limit: int
) -> Tensor:
    r"""One call of a library, which returns [target; source] and keeps the
    first :obj:`limit` neighbors of a target.
    """
    number = torch.arange(layout.num_components + 1, device=y.device)
    ptr_dst = torch.searchsorted(layout.dst.contiguous(), number)
    found = _Call.apply(
        backend, x.contiguous(), y.contiguous(), layout.ptr, ptr_dst, radius, limit
    )
    return found.flip(0)


class _Call(torch.autograd.Function):
    """The call itself: under :mod:`torch.func` it takes the wrapped tensors apart,
    which the libraries cannot do."""

    @staticmethod
    def forward(
        backend: str,
        x: Tensor,
        y: Tensor,
        ptr_src: Tensor,
        ptr_dst: Tensor,
        radius: float,
        limit: int,
    ) -> Tensor:
        # pyg-lib can leave out pairs of equal indices: it shall not.
        more = (False,) if backend == "pyg_lib" else ()
        search = _load(backend)
        return search(x, y, ptr_src, ptr_dst, radius, limit, 1, *more)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, ...]:
        return (None,) * 7


def slotted_candidates(
    layout: Layout,
    x: Tensor,
    y: Tensor,
    radius: float,
    backend: str,
    slots: int = CUDA_SLOTS,
    guess: int = CUDA_GUESS,
) -> Iterator[Tensor]:
    r"""The search for kernels that allocate targets × limit slots: targets
    in runs, with a small limit first, and again with a safe limit for those
    that reached it.
    """
    largest = _largest(layout)
    limit = min(guess, largest)
    for part in torch.arange(y.size(0), device=y.device).split(max(1, slots // limit)):
        found = _search_part(backend, layout, x, y, radius, limit, part)
        if limit < largest:
            counts = torch.bincount(found[1], minlength=y.size(0))
            full = counts >= limit
            again = part[full[part]].split(max(1, slots // largest))
            found = torch.cat(
                [found[:, ~full[found[1]]]]
                + [
                    _search_part(backend, layout, x, y, radius, largest, p)
                    for p in again
                ],
                dim=1,
            )
            found = found[:, found[1].argsort(stable=True)]
        yield found


def _search_part(
    backend: str,
    layout: Layout,
    x: Tensor,
    y: Tensor,
    radius: float,
    limit: int,
    part: Tensor,
) -> Tensor:
    found = _call(
        backend, layout.select_targets(part), x, y.index_select(0, part), radius, limit
    )
    return torch.stack([found[0], part[found[1]]])
