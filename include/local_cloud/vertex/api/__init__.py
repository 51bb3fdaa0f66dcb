"""The routes of the API, service by service."""
