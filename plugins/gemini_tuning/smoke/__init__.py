"""Smoke tests: real prompts to a tuned endpoint, and a verdict on its answers."""
