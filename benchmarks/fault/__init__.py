"""The faults of `benchmarks/faults.py`: what happens to a study, and what must be left afterwards."""
