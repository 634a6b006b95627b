"""State that is kept over a pause in addition to Lightning's: one module per kind of state; `state` joins them."""
