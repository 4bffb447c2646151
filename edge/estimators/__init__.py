"""Holds the estimators, one file each: how long a batch will take on a lane."""
