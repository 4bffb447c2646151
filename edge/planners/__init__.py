"""Holds the planners, one file each: the slow loop that sets the limits for fast decisions of the next seconds."""
