"""Figures of speed and memory; run by `experiments.benchmark`."""
