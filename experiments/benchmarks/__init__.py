"""Figures of speed and memory (design: the one place for them); run by `experiments.benchmark`."""
