"""The gallery of a run: one page that shows every example with its weight."""
