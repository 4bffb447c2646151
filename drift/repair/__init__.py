"""Ways to repair a model, from the cheapest up, and what they work with."""
