"""twistd under cProfile: ``python -m tests.bench.profiled FILE ARGUMENTS OF TWISTD``.

SIGUSR1 starts the profiler and SIGUSR2 writes what it saw to the file, so that neither start-up
nor preparation is in it.  It sees the reactor's thread alone.
"""

import cProfile
import signal
import sys
from types import FrameType

from twisted.scripts.twistd import run

__all__: list[str] = []


def main() -> None:
    """Run twistd with the arguments after the first."""
    name = sys.argv.pop(1)
    profiler = cProfile.Profile()

    def start(signum: int, frame: FrameType | None) -> None:
        profiler.enable()

    def stop(signum: int, frame: FrameType | None) -> None:
        profiler.disable()
        profiler.dump_stats(name)

    signal.signal(signal.SIGUSR1, start)
    signal.signal(signal.SIGUSR2, stop)
    run()


if __name__ == "__main__":
    main()
