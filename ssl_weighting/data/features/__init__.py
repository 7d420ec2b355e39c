"""Feature sets: readers of arrays, statistics and made views."""
