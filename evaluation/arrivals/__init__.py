"""Generates and reads arrivals: random processes, cameras that see the same motion, trace files,
recordings. One file for each kind.
"""
