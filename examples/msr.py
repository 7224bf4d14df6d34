"""Learns which weights of a linear layer are shared, from many small tasks.

    python examples/msr.py
    python examples/msr.py --steps 5000 --output runs/msr-5000
    python examples/msr.py --tasks rank5 --models MSR --size 15

The three problems in one dimension of https://arxiv.org/abs/2007.02933 (Section 5.1):
tasks are convolutions (convolution), or locally connected with filters that mix two or
five (rank2, rank5). Each network is trained to do well after one gradient step on one
example of a task: MSR, whose sharing of weights is learned; true, the same from the
true sharing; and dense, convolution and local, whose sharing is fixed.

Left in the folder: results.md, the mean square errors on test tasks and how much of the
true sharing was learned; losses.png; sharing.png, what MSR has learned of the first of
the problems.
"""

import argparse
import sys
from pathlib import Path

import torch

from lieconv_pyg.discovery import (
    LocalLinear,
    SharedLinear,
    SharingTasks,
    plot_sharing,
    synthetic_tasks,
)
from lieconv_pyg.figures import COLOURS, new_figure
from lieconv_pyg.training import DivergenceError, MetaTest, meta_train

#: The published numbers of shared parameters.
SIZES = {"convolution": 3, "rank2": 6, "rank5": 30}
MODELS = {
    "MSR": "MSR",
    "true": "MSR from the true sharing",
    "dense": "MAML, dense",
    "convolution": "MAML, convolution",
    "local": "MAML, locally connected",
}
#: By problem and model.
Results = dict[str, dict[str, MetaTest]]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--tasks", nargs="+", default=[*SIZES], choices=[*SIZES], help="problems")
    add("--models", nargs="+", default=[*MODELS], choices=[*MODELS], help="networks")
    add("--steps", type=int, default=1000, help="of training, with 32 tasks each")
    add("--train", type=int, default=8000, help="training tasks of a problem")
    add("--test", type=int, default=2000, help="test tasks of a problem")
    add("--size", type=int, help="shared parameters of MSR, instead of 3, 6 and 30")
    add("--lr", type=float, default=1e-3, help="learning rate of Adam")
    add("--seed", type=int, default=0, help="of tasks and networks")
    add("--output", type=Path, default=Path("runs/msr"), help="folder of the results")
    args = parser.parse_args()
    for name in ("steps", "train", "test", "size"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, got {value}")
    # Each once.
    args.tasks, args.models = (
        [*dict.fromkeys(args.tasks)],
        [*dict.fromkeys(args.models)],
    )
    return args


def network(model: str, tasks: SharingTasks, size: int) -> torch.nn.Module:
    """What is trained; :obj:`size` is for MSR."""
    n, m = tasks.x.size(2), tasks.y.size(2)
    if model == "MSR":
        return SharedLinear(n, m, size)
    if model == "true":
        assert tasks.patterns is not None
        # Of the length at which one rate suits all.
        span = torch.linalg.qr(tasks.patterns.flatten(1).t()).Q.t() * m**0.5
        layer = SharedLinear(n, m, len(span))
        layer.set_patterns(span.view_as(tasks.patterns))
        return layer
    if model == "dense":
        return torch.nn.Linear(n, m, bias=False)
    return LocalLinear(n, n - m + 1, shared=model == "convolution")


def markdown(results: Results, zero: list[float]) -> str:
    """The table of errors, and the scores of what MSR has learned."""
    rows = [["mean square error", *results]]
    for model in next(iter(results.values())):
        found = [tests[model] for tests in results.values()]
        cells = [f"{test.mse:.3f} ± {test.uncertainty:.3f}" for test in found]
        rows.append([MODELS[model], *cells])
    rows.append(["zero for everything", *(f"{value:.3f}" for value in zero)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    lines.append("")
    for problem, tests in results.items():
        for model, test in tests.items():
            if test.score is not None:
                lines.append(f"- {MODELS[model]} on {problem}: {test.score}")
    return "\n".join(lines) + "\n"


def draw_losses(results: Results, path: Path) -> None:
    """A panel for each problem: means of a fiftieth of the steps."""
    figure = new_figure(0.6 + 3.6 * len(results), 3.8)
    panels = figure.subplots(1, len(results), squeeze=False, sharey=True)[0]
    for axes, (problem, tests) in zip(panels, results.items(), strict=True):
        for (model, test), colour in zip(tests.items(), COLOURS, strict=False):
            width = max(1, len(test.losses) // 50)
            means = [part.mean().item() for part in test.losses.split(width)]
            steps = [width * (k + 0.5) for k in range(len(means))]
            axes.semilogy(steps, means, color=colour, label=MODELS[model])
        axes.set(title=problem, xlabel="step")
        axes.grid(True, alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("mean square error")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path)


def main() -> None:
    args = parse_args()
    results: Results = {}
    zero: list[float] = []
    learned = None
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        for problem in args.tasks:
            tasks = synthetic_tasks(problem, args.train + args.test, seed=args.seed)
            train, test = tasks.split(args.train)
            results[problem] = {}
            zero.append(test.y[:, 1:].square().mean().item())
            for model in args.models:
                torch.manual_seed(args.seed)
                layer = network(model, tasks, args.size or SIZES[problem])
                found = meta_train(
                    layer, train, test, args.steps, lr=args.lr, seed=args.seed
                )
                results[problem][model] = found
                print(f"{found.seconds:4.0f} s  {MODELS[model]}: {found}", flush=True)
                if model == "MSR" and learned is None:
                    assert isinstance(layer, SharedLinear)
                    learned = layer.patterns, tasks.patterns
    except (ValueError, OSError, DivergenceError) as error:
        sys.exit(f"msr: error: {error}")
    table = markdown(results, zero)
    (args.output / "results.md").write_text(table)
    draw_losses(results, args.output / "losses.png")
    if learned is not None:
        plot_sharing(*learned, args.output / "sharing.png")
    print(f"\n{table}\nfigures in {args.output}")


if __name__ == "__main__":
    main()
