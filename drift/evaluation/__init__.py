"""Does a drift do harm, and does a repair help? Decided on labels, by tests of hypotheses."""
