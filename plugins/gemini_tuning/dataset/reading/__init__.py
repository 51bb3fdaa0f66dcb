"""One file of a dataset from end to end, by several processes where it is large."""
