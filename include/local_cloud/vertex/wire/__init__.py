"""The messages of the API: how their fields are read and written, and which there are."""
