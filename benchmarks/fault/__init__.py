"""The faults of `benchmarks/faults.py`: what is done to a study, and what must be left of it."""
