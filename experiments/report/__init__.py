"""The report on finished runs."""
