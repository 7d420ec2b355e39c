"""Image sets: readers by name and format, and how their views are made."""
