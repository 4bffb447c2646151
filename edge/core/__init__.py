"""The scheduler: events in, actions out; pure."""
