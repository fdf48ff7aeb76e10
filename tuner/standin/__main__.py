"""`python -m tuner.standin`: what the engine-sim image runs; it starts faster than the whole command line."""

import os
import signal
import sys


def _leave(*_: object) -> None:
    os._exit(0)


if __name__ == "__main__":
    # The first process of a container ignores signals without a handler, and imports take a moment.
    signal.signal(signal.SIGTERM, _leave)
    from tuner.standin import serve

    sys.exit(serve(sys.argv[1:]))
