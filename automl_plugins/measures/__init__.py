"""Costs of networks: parameters, MACs, memory, latency and energy."""
