"""Serves models on the box: the core decides, the runtime executes, sources bring and publish, the daemon wires."""
