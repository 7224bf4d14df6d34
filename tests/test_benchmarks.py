"""The benchmarks, on few points."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "examples" / "benchmarks"


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def run(script, *args):
    command = [sys.executable, str(FOLDER / f"{script}.py"), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True)


def test_step_time():
    done = run("step_time", "qm9-se3-256", "--batch_size", 2, "--turns", 1, "--json")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    row = json.loads(line)
    assert row["workload"] == "qm9-se3-256"
    assert 26 <= row["nodes"] <= 46  # before lifting
    assert row["edges"] <= 25 * 4 * row["nodes"]
    assert row["ms"] > 0 and row["peak_mb"] > 50 and 0 < row["gemm_share"] < 1


@pytest.mark.parametrize(
    "name,size",
    [("cloud-80", None), ("springs-384", 2), ("rotmnist-se2", 2), ("shapes-80", 3)],
)
def test_the_step_trains(name, size):
    import argparse

    from step_time import Step
    from workloads import workload

    args = argparse.Namespace(
        original=None,
        backend=None,
        device="cpu",
        precision="float32",
        recompute=size is not None,
    )
    step = Step(workload(name, size), args)
    before = [p.clone() for p in step.optimizer.param_groups[0]["params"]]
    assert step() > 0
    after = step.optimizer.param_groups[0]["params"]
    changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert sum(changed) > 0.7 * len(changed)  # biases before batch norm do nothing
    assert step.flops() > 2 * 80 * 64 * 16


@pytest.mark.parametrize("name", ["qm9", "cloud-", "cloud-x", "cloud-3", "cloud-N"])
def test_unknown_workloads(name):
    from workloads import workload

    with pytest.raises(ValueError, match=r"no workload is called.*qm9-t3-1536"):
        workload(name)


def test_workloads_are_as_stated():
    from workloads import workload

    for name, batch_size in (("qm9-t3-1536", 25), ("qm9-se3-256", 8)):
        work = workload(name)
        x, pos, batch, y = work.data()
        counts = batch.bincount()
        assert len(counts) == len(y) == batch_size
        assert counts.min() >= 13 and counts.max() <= 23
        assert x.shape == (len(batch), 15) and pos.shape == (len(batch), 3)
    work = workload("cloud-3000")
    x, pos, batch, _ = work.data()
    network = work.network()
    network.calibrate(pos)
    graph = network.resolutions(network.lift(pos))[0].graph
    assert graph.edge_index.size(1) / 3000 == pytest.approx(32, rel=0.05)


def test_original_must_be_there(tmp_path):
    done = run("step_time", "cloud-64", "--original", tmp_path)
    assert done.returncode == 1
    assert "is not a clone of https://github.com/mfinzi/LieConv" in done.stderr
    assert "Traceback" not in done.stderr


def test_graph_time(monkeypatch):
    import graph_time
    from workloads import workload

    monkeypatch.setitem(graph_time.CASES, "molecules", workload("qm9-se3-256", 2))
    monkeypatch.setitem(graph_time.CASES, "space", workload("cloud-500"))
    for case, most in (("molecules", 25 * 4 * 46), ("space", 40 * 500)):
        row = graph_time.measure(case, "torch", "cpu", 1)
        assert 0 < row["edges"] <= most
        assert all(row[key] > 0 for key in ("lift_ms", "search_ms", "pairs_ms"))


@pytest.mark.parametrize(
    "script,args,match",
    [
        ("step_time", ["cloud-64", "--threads", "0"], "--threads: must be at least 1"),
        ("where_time_goes", ["cloud"], "error: no workload is called 'cloud'"),
        ("graph_time", ["cloud"], "error: no case is called 'cloud': take plane"),
    ],
)
def test_bad_arguments(script, args, match):
    done = run(script, *args)
    assert done.returncode and match in done.stderr
    assert "Traceback" not in done.stderr


def test_where_time_goes(monkeypatch, capsys):
    import where_time_goes

    arguments = ["where_time_goes", "cloud-64"]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(where_time_goes, "keep_memory", lambda: None)
    where_time_goes.main()
    out = capsys.readouterr().out
    rows = [line.strip("| ").split(" | ") for line in out.splitlines()[2:]]
    times = {kind: float(ms) for kind, ms in rows}
    assert set(times) == {*where_time_goes.KINDS, "everything else", "sum"}
    assert times["matrix products"] > 0 and times["batch norm"] > 0
    monkeypatch.setattr(sys, "argv", [*arguments, "--without", "--turns", "1"])
    where_time_goes.main()
    assert capsys.readouterr().out.count("×") == len(where_time_goes.without())


def test_compare(tmp_path, capsys, monkeypatch):
    import compare

    def line(workload, implementation, ms, nodes):
        row = dict(workload=workload, implementation=implementation, ms=ms, nodes=nodes)
        return json.dumps(row | dict(edges=9, peak_mb=nodes, gemm_share=0.25)) + "\n"

    file = tmp_path / "lines.jsonl"
    file.write_text(
        line("qm9-t3-256", "lieconv_pyg", 10, 461)
        + line("qm9-t3-256", "original", 25, 461)
        + line("cloud-100", "lieconv_pyg", 1, 100)
        + line("cloud-400", "lieconv_pyg", 8, 400)
    )
    figure = tmp_path / "plot.png"
    monkeypatch.setattr(sys, "argv", ["compare", str(file), "--plot", str(figure)])
    compare.main()
    out = capsys.readouterr().out
    assert "| qm9-t3-256 | 461 | 9 | 10 | 25 | 2.50× | 461 | 461 | 25% |" in out
    assert "lieconv_pyg: ms grows as points^1.50" in out
    assert "lieconv_pyg: peak_mb grows as points^1.00" in out
    assert figure.stat().st_size > 1000

    row = json.loads(line("qm9-t3-256", "lieconv_pyg", 5, 461)) | {"keep_memory": True}
    bare = dict(workload="w", ms=1, nodes=2, edges=3, peak_mb=4, gemm_share=0)
    file.write_text(
        line("qm9-t3-256", "lieconv_pyg", 10, 461)
        + f"{json.dumps(row)}\n{json.dumps(bare)}\n"
    )
    with pytest.raises(SystemExit, match="--plot needs clouds of two sizes"):
        compare.main()
    out = capsys.readouterr().out
    assert "| qm9-t3-256 keep_memory=False | 461 | 9 | 10 |  |  |" in out
    assert "| qm9-t3-256 keep_memory=True | 461 | 9 | 5 |  |  |" in out
    assert "| w keep_memory=False | 2 | 3 | 1 |" in out
    file.write_text("\n")
    with pytest.raises(SystemExit, match="no lines in"):
        compare.main()

    file.write_text('{"ms": 3}\n')
    with pytest.raises(
        SystemExit, match=r"lines.jsonl, line 1: not a line of step_tim"
    ):
        compare.main()
