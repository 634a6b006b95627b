"""The loop that drives a controller, and the executors that train segments for it."""
