"""ADE20K, as in the scene parsing challenge."""

from __future__ import annotations

from seg_space.data.arguments import class_names
from seg_space.data.files import IMAGE_SUFFIXES, MASK_SUFFIXES, ImageFiles, listing, paired
from seg_space.data.held_out import HeldOutData
from seg_space.data.labels import IGNORED, Labels

COUNT = 150


class ADE20KData(HeldOutData):
    """ADE20K's 150 classes of scenes (Zhou et al. 2017), the benchmark `ADEChallengeData2016`, as it is unpacked.

    Below `path`: `images/{training,validation}/<id>.jpg` and `annotations/{training,validation}/<id>.png`, whose 1 to
    150 are the classes; 0 is everything else, and ignored. The official validation images are the test images; see
    `HeldOutData`, whose arguments these are.
    """

    classes = class_names(COUNT)

    def _labels(self) -> Labels:
        return Labels(({0: IGNORED, **{number + 1: number for number in range(COUNT)}},))

    def _public_files(self) -> tuple[list[ImageFiles], list[ImageFiles]]:
        return self._split("training"), self._split("validation")

    def _split(self, split: str) -> list[ImageFiles]:
        images = listing(self.path / "images" / split, "images", IMAGE_SUFFIXES)
        return paired(images, listing(self.path / "annotations" / split, "masks", MASK_SUFFIXES))
