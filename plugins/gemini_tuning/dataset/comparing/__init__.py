"""What examples have in common, within a file and between files."""
