"""What no scheduler can exceed."""
