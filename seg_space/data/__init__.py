"""LightningDataModules for images; each names the task that a network must fit."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seg_space.data.ade20k import ADE20KData
    from seg_space.data.brain import BrainTemplateData
    from seg_space.data.camvid import CamVidData
    from seg_space.data.cityscapes import CityscapesData
    from seg_space.data.darcy_flow import DarcyFlowData
    from seg_space.data.image_folder import ImageFolderData
    from seg_space.data.image_table import ImageTableData
    from seg_space.data.images_and_masks import ImagesAndMasks
    from seg_space.data.voc import VOCData

_MODULES = {
    "ADE20KData": "ade20k",
    "BrainTemplateData": "brain",
    "CamVidData": "camvid",
    "CityscapesData": "cityscapes",
    "DarcyFlowData": "darcy_flow",
    "ImageFolderData": "image_folder",
    "ImageTableData": "image_table",
    "ImagesAndMasks": "images_and_masks",
    "VOCData": "voc",
}

__all__ = [
    "ADE20KData",
    "BrainTemplateData",
    "CamVidData",
    "CityscapesData",
    "DarcyFlowData",
    "ImageFolderData",
    "ImageTableData",
    "ImagesAndMasks",
    "VOCData",
]


def __getattr__(name: str) -> Any:
    # Importing torchvision takes seconds.
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
