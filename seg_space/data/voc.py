"""PASCAL VOC's segmentation images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seg_space.data.files import ImageFiles, folder_of, listed
from seg_space.data.held_out import HeldOutData
from seg_space.data.labels import Labels


class VOCData(HeldOutData):
    """PASCAL VOC 2012's 20 kinds of objects and the background (Everingham et al. 2010), as it is unpacked.

    Below `path`: `JPEGImages/<id>.jpg`, `SegmentationClass/<id>.png` (a palette; 255 is ignored) and
    `ImageSets/Segmentation/{train,val}.txt`. The official validation images are the test images, see `HeldOutData`.

    Args:
        path: the folder, such as `VOCdevkit/VOC2012`.
        masks: the folder of the masks; `SegmentationClassAug` for Hariharan et al.'s 10,582 training masks.
        train_list: the name of the list of training images; `trainaug` goes with `SegmentationClassAug`.
        others: arguments of `HeldOutData`.

    Raises:
        ValueError: an argument is out of range; (in `setup`) something is wrong with a file.
        FileNotFoundError: (in `setup`) a file or folder is missing.
    """

    classes = (
        *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
        *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
    )

    def __init__(
        self,
        path: str | Path,
        masks: str = "SegmentationClass",
        train_list: str = "train",
        **others: Any,
    ) -> None:
        super().__init__(path, **others)
        self.masks, self.train_list = masks, train_list

    def _labels(self) -> Labels:
        return Labels.of_classes(len(self.classes), 255)

    def _public_files(self) -> tuple[list[ImageFiles], list[ImageFiles]]:
        return self._listed(self.train_list), self._listed("val")

    def _listed(self, name: str) -> list[ImageFiles]:
        images = folder_of(self.path / "JPEGImages", "images")
        masks = folder_of(self.path / self.masks, "masks")
        file = self.path / "ImageSets" / "Segmentation" / f"{name}.txt"
        names = listed(file)
        if names is None:
            raise FileNotFoundError(f"{file} is missing; it lists the images of a split, one name a line")
        files = [ImageFiles(images / f"{stem}.jpg", (masks / f"{stem}.png",)) for stem in names]
        for path in (path for sample in files for path in (sample.image, *sample.masks)):
            if not path.is_file():
                raise FileNotFoundError(f"{file} names {path.stem!r}, but there is no {path}")
        return files
