import os

if "PYTEST_XDIST_WORKER" in os.environ:  # which share the cores
    os.environ["OMP_NUM_THREADS"] = "1"

import lieconv_pyg  # noqa: F401  first, since importing PyG alone warns
