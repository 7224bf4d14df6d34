import platform
import resource
import subprocess
import sys

import pytest

from lieconv_pyg.memory import keep_memory

COUNT = """
import resource, sys, torch
from lieconv_pyg.memory import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
for step in range(2):
    if step == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    kept = [torch.ones(1 << 20) for _ in range(50)]
    del kept
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc only")
def test_memory_is_not_fetched_again():
    faults = {
        mode: int(subprocess.check_output([sys.executable, "-c", COUNT, mode]))
        for mode in ("keep", "leave")
    }
    pages = 200 * 2**20 / resource.getpagesize()
    assert faults["keep"] < 0.3 * pages < faults["leave"]


def test_other_systems(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_memory() is False
