"""Convert other formats into ``contents`` lines, and say everything that could not come along."""
