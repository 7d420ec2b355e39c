"""One training run: its loop, state, log, lock and record."""
