"""What a pause keeps beside Lightning's own state: one module per kind of state, and `state`, which joins them."""
