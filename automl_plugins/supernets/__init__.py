"""Supernets: functions of gates, and the searchable modules that hold their logits."""
