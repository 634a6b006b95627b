"""Who is better, on arrays of losses: fronts, the order inside a front, hypervolume, and the order of a rung.

Everywhere a loss matrix has the shape `(n_points, n_objectives)` and all objectives are minimised.
"""
