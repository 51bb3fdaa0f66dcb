"""The work of a job, done in a child process: reading its dataset and training on it."""
