"""Holds parts that several planners share."""
