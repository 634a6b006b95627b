"""The decisions: pure functions and folds over plain values. No clock, no files, no processes, no global randomness."""
