"""Long experiments: runs as plain values, grids of them, many at a time, and what they support."""
