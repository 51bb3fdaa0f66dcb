"""The local Vertex AI: Gemini tuning jobs, the endpoints they make and the metrics they record, over HTTP.

It imitates the wire form of the real service (page "Tuning API" and the ``google.cloud.aiplatform`` protos) closely
enough for Google's own clients, and does real work behind it: a job trains a small model on the dataset it was given.
"""
