"""NAS-Bench-Graph's networks of four operations, with a supernet."""

from gnn_space.nas_bench_graph.space import NASBenchGraphSpace

__all__ = ["NASBenchGraphSpace"]
