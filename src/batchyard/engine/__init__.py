"""Turns, journal, housekeeping: what runs the batches."""
