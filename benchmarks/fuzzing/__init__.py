"""What `benchmarks/fuzz.py` feeds to each way in."""
