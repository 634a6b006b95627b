"""Who is better, on arrays of losses: Pareto fronts, the order inside a front, and a rung's total order."""
