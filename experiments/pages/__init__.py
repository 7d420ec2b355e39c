"""What report, study and paper pages share: documents, rendering, plots, statistics."""
