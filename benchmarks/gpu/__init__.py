"""The parts of `benchmarks/gpu_check.py`: what it trains, what it checks, and what the device itself reports."""
