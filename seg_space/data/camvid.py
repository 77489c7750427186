"""CamVid's layout: folders of images and of masks for each split, and lists of what is in them."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from seg_space.data.arguments import class_names, some_channels
from seg_space.data.files import IMAGE_SUFFIXES, MASK_SUFFIXES, ImageFiles, listed, listing, paired
from seg_space.data.image_files import MaskFilesData
from seg_space.data.labels import Labels

# As in SegNet's version of CamVid, which has no meta.json (Badrinarayanan et al. 2017, arXiv 1511.00561).
SEGNET_CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree"),
    *("signsymbol", "fence", "car", "pedestrian", "bicyclist"),
)


class CamVidData(MaskFilesData):
    """Semantic segmentation of a folder in the layout of SegNet's CamVid (Brostow et al. 2009).

    For each of `train`, `val` and `test`: images in `<split>/`, masks of the same names in `<split>annot/`, and,
    where only some of them belong to the split, a list `<split>.txt` (names, or paths as in SegNet's lists, one a
    line). A file `meta.json` may give `classes` (names), `ignore_index` and `channels` (1, 3 or 4; 3 where left
    out); without it, the classes are CamVid's 11, and 11 is ignored. The arguments are those of `ImageFilesData`.
    """

    @cached_property
    def _meta(self) -> tuple[tuple[str, ...], int | None, int]:
        """Classes, the ignored number, and channels."""
        file = self.path / "meta.json"
        if not file.is_file():
            return SEGNET_CLASSES, len(SEGNET_CLASSES), 3
        try:
            content: Any = json.loads(file.read_text(encoding="utf-8"))
            ignored = content.get("ignore_index")
            return (
                class_names(tuple(map(str, content["classes"]))),
                None if ignored is None else int(ignored),
                some_channels(content.get("channels", 3)),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{file} is a JSON object with `classes`, a list of names, and possibly `ignore_index` and `channels`: "
                f"{type(error).__name__}: {error}"
            ) from error

    @property
    def classes(self) -> tuple[str, ...]:
        return self._meta[0]

    @property
    def channels(self) -> int:  # type: ignore[override]  # read from the file
        return self._meta[2]

    def _labels(self) -> Labels:
        return Labels.of_classes(len(self.classes), self._meta[1])

    def _files(self) -> tuple[list[ImageFiles], list[ImageFiles], list[ImageFiles]]:
        train, val, test = (self._split(name) for name in ("train", "val", "test"))
        return train, val, test

    def _split(self, split: str) -> list[ImageFiles]:
        images = listing(self.path / split, "images", IMAGE_SUFFIXES)
        masks = listing(self.path / f"{split}annot", "masks", MASK_SUFFIXES)
        names = listed(self.path / f"{split}.txt")
        if names is None:
            return paired(images, masks)
        for name in names:
            for files, what in ((images, split), (masks, f"{split}annot")):
                if name not in files:
                    raise ValueError(f"{self.path / split}.txt names {name!r}, which is not in {self.path / what}")
        return [ImageFiles(images[name], (masks[name],)) for name in names]
