"""The cells of NAS-Bench-201 as networks of torch, with a supernet: for images, and for pixels with a decoder."""

from seg_space.nas_bench_201.space import NASBench201Space

__all__ = ["NASBench201Space"]
