"""Auto-DeepLab's hierarchical search space, its networks and its supernet."""

from seg_space.auto_deeplab.space import AutoDeepLabSpace

__all__ = ["AutoDeepLabSpace"]
