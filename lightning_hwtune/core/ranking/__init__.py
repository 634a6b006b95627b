"""Which trial is better, from arrays of losses: fronts, the order within a front, hypervolume, the order of a rung.

Every loss matrix has the shape `(n_points, n_objectives)`, and all objectives are minimised.
"""
