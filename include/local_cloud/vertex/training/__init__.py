"""The work of a job in its child process, and what the server shares with that: files, order and rows."""
