"""Between drift adaptation, which decides, and the running daemon, which does."""
