"""Holds the meters: what policies and planners measure from the moments they see, such as rates and attainment."""
