"""What policies and planners measure while they watch: rates, attainment, errors."""
