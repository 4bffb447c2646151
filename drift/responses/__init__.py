"""What can be done about a drift, one file each, ordered by cost in a ladder."""
