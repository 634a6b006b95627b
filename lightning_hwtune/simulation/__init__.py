"""Simulated studies: learning curves and tables, a virtual clock, and the executor that follows them."""
