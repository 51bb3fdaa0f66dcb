"""Tuning jobs: base models, the spec of a job, its states, its metrics, and the service that runs it."""
