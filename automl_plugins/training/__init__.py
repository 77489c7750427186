"""Trainings through Lightning, and the modules and data of tasks."""
