"""The slow loop: what the fast decisions must keep to for the next seconds. One file for each planner."""
