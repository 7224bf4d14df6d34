"""The code in README.md and docs/ runs, and the table of groups says what is so."""

import importlib
import re
from pathlib import Path

import pytest
import torch

from lieconv_pyg.groups import group_resolver

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("[!_]*/*.md"))]
PAGES += sorted((ROOT / "docs").glob("*.md"))
PAGES = [page for page in PAGES if page.exists() and "```python" in page.read_text()]


def blocks(text):
    """The Python blocks of a page, each behind blank lines up to its own line number,
    but for those under a comment ``<!-- not run: ... -->``."""
    pattern = r"(<!-- not run: .*-->\n)?^```python\n(.*?)^```$"
    for match in re.finditer(pattern, text, re.M | re.S):
        if match[1] is None:
            yield "\n" * text[: match.start(2)].count("\n") + match[2]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_blocks_run(page, monkeypatch, tmp_path):
    for module in ("lightning", "ase"):
        if module in page.read_text() or "datasets" in page.read_text():
            pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)  # what a block writes does not stay
    torch.manual_seed(0)
    names = {"__name__": "__main__"}
    for block in blocks(page.read_text()):
        exec(compile(block, str(page), "exec"), names)


def test_blocks_are_found_and_left_out():
    text = "a\n```python\nx = 1\n```\n<!-- not run: no data -->\n```python\ny\n```\n"
    assert list(blocks(text)) == ["\n\nx = 1\n"]


def table_of_groups():
    """Names, dim G, dim q and stabilizer in the table of docs/groups.md."""
    for line in (ROOT / "docs/groups.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[0].startswith("`"):
            for name in re.findall(r"`(\w+)\(", cells[0]):
                yield name, cells[2], cells[3], cells[6]


@pytest.mark.parametrize("row", list(table_of_groups()), ids=lambda row: row[0])
def test_table_of_groups(row):
    name, dim, orbit_dim, stabilizer = row
    n = 3
    takes_n = name in ("Trivial", "T", "Tx", "Ty", "Galilei")
    group = group_resolver(name, **({"n": n} if takes_n else {}))
    values = {"n": n, "n − 1": n - 1, "2n + 1": 2 * n + 1}
    values |= {str(k): k for k in range(9)}
    assert group.dim == values[dim]
    assert group.orbit_dim == values[orbit_dim]
    dims = {"–": 0, "SO(2)": 1, "R^×·SO(2)": 2, "SO(3)": 3}
    assert group.stabilizer_dim == dims[stabilizer]


def test_table_has_every_group():
    names = "Trivial T Tx Ty SO2 RxSO2 Rx SQ RxSQ SE2 SIM2 SO3 SE3 Lorentz Galilei"
    assert " ".join(row[0] for row in table_of_groups()) == names


def test_links_between_pages_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        if "_build" in page.parts or not page.exists():
            continue
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize(
    "package", ["groups", "lifting", "neighbors", "nn", "dynamics", "discovery"]
)
def test_reference_has_every_public_name(package):
    text = "".join(page.read_text() for page in (ROOT / "docs/api").glob("*.md"))
    for name in importlib.import_module(f"lieconv_pyg.{package}").__all__:
        assert re.search(
            rf":: lieconv_pyg\.{package}\.{name}\b|:: {name}(\(\))?\n", text
        ), name
