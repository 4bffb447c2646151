"""Connects drift adaptation, which decides, with the running daemon, which carries out its commands."""
