"""Retrain Gemini models on Vertex AI from Airflow: validated, paid for once, proven before use."""
