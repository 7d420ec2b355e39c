"""Packs: sets of images that stay on disk, whose examples are read by row."""
