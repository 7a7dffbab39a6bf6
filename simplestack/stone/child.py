"""Processes of our own: the same interpreter, the same code."""

import os
import subprocess
import sys
from collections.abc import Sequence

__all__ = ["child"]


def child(
    program: str, arguments: Sequence[str], *, handles: Sequence[int] = ()
) -> "subprocess.Popen[bytes]":
    """Run a Python program with open handles and a pipe as its standard input."""
    # What we found by our directory is not found from another.
    path = os.pathsep.join(os.path.abspath(each) for each in sys.path)
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        pass_fds=handles,
        # Ctrl-C is for the controller alone, which ends its processes.
        process_group=0,
        env={**os.environ, "PYTHONPATH": path},
    )
