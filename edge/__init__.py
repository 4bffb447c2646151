"""What runs on the box: the scheduler's core, its two worlds, the plug-ins around it, and the daemon."""
