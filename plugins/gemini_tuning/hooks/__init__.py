"""Hooks: Google's clients with the credentials of an Airflow connection."""
