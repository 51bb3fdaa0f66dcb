"""Datasets: read, check, estimate, upload."""
