"""Feature sets: readers of arrays, statistics, made views, and features of a frozen backbone."""
