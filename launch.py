"""Run an experiment: python launch.py --config=configs/NAME.py (see --help)."""

import os
import signal

# Importing JAX takes seconds. Until a run is under way, Ctrl-C exits at once.
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: os._exit(128 + number))

from nst_jax.launch.cli import main

if __name__ == "__main__":
    main()
