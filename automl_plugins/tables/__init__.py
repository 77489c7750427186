"""Benchmark tables: spaces in which every architecture has been trained already, so that a search can be judged."""

from __future__ import annotations

from automl_plugins.tables.cells import nas_bench_201, transnas_bench_101
from automl_plugins.tables.nas_bench_graph import nas_bench_graph
from automl_plugins.tables.table import Table, TableSpace

__all__ = ["Table", "TableSpace", "nas_bench_201", "nas_bench_graph", "transnas_bench_101"]
