"""Cityscapes."""

from __future__ import annotations

from seg_space.data.files import ImageFiles, folder_of
from seg_space.data.held_out import HeldOutData
from seg_space.data.labels import IGNORED, Labels

_IMAGE, _MASK = "_leftImg8bit.png", "_gtFine_labelIds.png"


class CityscapesData(HeldOutData):
    """Cityscapes' 19 evaluated classes of street scenes (Cordts et al. 2016), fine annotations, as it is unpacked.

    Below `path`: `leftImg8bit/{train,val}/<city>/<id>_leftImg8bit.png` and
    `gtFine/{train,val}/<city>/<id>_gtFine_labelIds.png`; of the 35 numbers of these masks, those that the benchmark
    does not evaluate are ignored. The official validation images are the test images; see `HeldOutData`, whose
    arguments these are.
    """

    classes = (
        *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
        *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
    )
    evaluated = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    """The numbers of the classes in the masks."""

    def _labels(self) -> Labels:
        classes = {number: place for place, number in enumerate(self.evaluated)}
        return Labels(({number: classes.get(number, IGNORED) for number in range(34)},))

    def _public_files(self) -> tuple[list[ImageFiles], list[ImageFiles]]:
        return self._split("train"), self._split("val")

    def _split(self, split: str) -> list[ImageFiles]:
        images = folder_of(self.path / "leftImg8bit" / split, "folders of cities with images")
        masks = folder_of(self.path / "gtFine" / split, "folders of cities with masks")
        files = []
        for image in sorted(images.glob(f"*/*{_IMAGE}")):
            mask = masks / image.parent.name / image.name.replace(_IMAGE, _MASK)
            if not mask.is_file():
                raise FileNotFoundError(f"{image} has no mask: there is no {mask}")
            files.append(ImageFiles(image, (mask,)))
        if not files:
            raise ValueError(f"{images} has no image; they are <city>/<id>{_IMAGE}")
        return files
