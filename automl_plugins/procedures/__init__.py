"""Procedures: search methods of several fits, or of none, as plain functions over a project."""
