"""What only the local Vertex AI has: scripted failures, planted jobs, and the log of all it was asked."""
