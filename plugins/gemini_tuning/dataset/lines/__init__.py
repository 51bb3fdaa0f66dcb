"""One line of a dataset: read it, accept it, or say what is wrong with it."""
