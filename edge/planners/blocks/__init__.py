"""Parts that planners share."""
