"""The inputs that `benchmarks/fuzz.py` gives to each interface."""
