"""Texts for people: progress, tables, drawings."""
