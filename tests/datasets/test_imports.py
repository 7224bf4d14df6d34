import subprocess
import sys


def test_datasets_load_nothing_heavy():
    code = (
        "import sys, lieconv_pyg.datasets, lieconv_pyg.nn.graph_net\n"
        "print({'ase', 'lightning', 'matplotlib', 'jsonargparse'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.stdout.strip() == "set()", out.stderr
