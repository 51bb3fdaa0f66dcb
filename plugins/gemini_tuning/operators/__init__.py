"""Operators: thin Airflow shells, one for each stage of a pipeline."""
