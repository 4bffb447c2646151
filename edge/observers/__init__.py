"""Watches every moment of the scheduler, one observer per file; an observer may post events but never decides."""
