"""Finished runs in use: labels for new examples, and models for other programs."""
