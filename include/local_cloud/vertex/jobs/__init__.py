"""Tuning jobs: what may be asked for, the course they take, what they make, and where all of it is kept."""
