"""Is this another world? Window tests, their thresholds, and the monitor that runs them."""
