"""What the parameters of a study do to an objective: importance, slices, contours. Numbers only, no figures."""
