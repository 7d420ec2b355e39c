"""The study: families, plan, rows, tables, figures, page."""
