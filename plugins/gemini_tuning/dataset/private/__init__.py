"""Private data in examples, looked for on request."""
