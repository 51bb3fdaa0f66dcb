"""The Google Cloud services that a tuning pipeline needs, as one process group on this machine.

``python -m local_cloud`` starts a Cloud Storage server (fake-gcs-server) and a local Vertex AI. Google's own
client libraries talk to both over HTTP; nothing here is ever imported by Airflow.
"""
