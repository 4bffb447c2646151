"""What watches every moment of the scheduler and may post events, but never decides: one file each."""
