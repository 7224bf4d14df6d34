"""The memory of the process."""

import ctypes
import platform


def keep_memory() -> bool:
    r"""Lets the process keep the memory of freed CPU tensors for the next ones.

    Else the C library gives much of it back to the system at the end of every training
    step, and the next step fetches it again page by page, which takes 10 to 20 percent
    of the time. Call it once, at the start of a training script; the command
    :obj:`lieconv` does. The process then holds on to the most memory that it ever used.

    Returns:
        bool: Whether anything was changed: so far only with glibc, on Linux.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    # M_MMAP_MAX: no tensor in a mapping of its own, which ends with it.
    # M_TRIM_THRESHOLD: 2 GB may lie idle before any is given back.
    # M_TOP_PAD: fetch 64 MB at a time.
    settings = (-4, 0), (-1, 2**31 - 1), (-2, 2**26)
    return min(library.mallopt(key, value) for key, value in settings) == 1
