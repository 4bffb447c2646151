"""What a free lane does next: one file for each policy or wrapper around one."""
