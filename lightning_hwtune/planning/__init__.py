"""Plans made before a study: how many devices each trial gets, and which nodes are rented when."""
