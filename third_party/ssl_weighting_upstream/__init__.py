"""Upstream behaviour, implemented again: one file per upstream piece (../README.md has sources)."""
