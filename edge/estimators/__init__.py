"""How long a batch will take on a lane: one file for each way of guessing."""
