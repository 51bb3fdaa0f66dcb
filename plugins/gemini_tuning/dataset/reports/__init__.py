"""The verdict on a dataset, and its forms for people and programs."""
