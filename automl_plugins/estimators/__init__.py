"""Estimates of an architecture without a full training of it."""
