"""Optuna studies: trials, final trainings, and what they leave behind."""
