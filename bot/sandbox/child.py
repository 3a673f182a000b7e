"""A child process that doesn't outlive us, even if we are killed."""

from __future__ import annotations

import ctypes
import signal
import sys


def dies_with_parent() -> None:
    """For preexec_fn, on Linux: when the parent dies, the kernel sends the child SIGTERM (prctl PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
