"""What trials run on and what that costs."""
