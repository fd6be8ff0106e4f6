"""What stands in for Python's functions on paths and descriptors."""
