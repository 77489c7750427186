"""Images without targets, to be predicted: whole ones, or their pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as transforms

from automl_plugins.system.arguments import at_least
from automl_plugins.training.data.csv_table import read_csv_table
from automl_plugins.training.data.unlabelled import Unlabelled
from automl_plugins.training.prediction import Prediction
from automl_plugins.training.preprocessing import Preprocessing
from seg_space.data.files import IMAGE_SUFFIXES, is_hidden
from seg_space.data.images import read_image
from seg_space.data.mask_files import MaskForm
from seg_space.data.tiles import predicted_in_tiles


@dataclass(frozen=True)
class UnlabelledImages(Unlabelled):
    """Images whose pixels are predicted, one at a time; predictions are of the size of the file.

    Args:
        sizes: place of an image that was read -> its height and width.
        names: of the classes, labels or targets.
        form: of mask files; None: the predictions are real values.
    """

    sizes: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    form: MaskForm | None = None

    def predictions(self, predict: Callable[[Any], Prediction]) -> Iterator[tuple[Sequence[int], Prediction]]:
        for places, image in self:
            found = predicted_in_tiles(image, predict)
            size = self.sizes[places[0]]
            parts = [_resized(part, size) for part in (found.values, found.spread) if part is not None]
            yield places, Prediction(parts[0], parts[1] if len(parts) > 1 else None, found.task)

    def write(self, place: int, prediction: Prediction, folder: Path, probabilities: bool) -> None:
        """Write masks as PNG, in a folder for each of several labels; real values, and probabilities, as npz."""
        name = self._name(place)
        if self.form is not None:
            decided = prediction.decided[0].long().numpy()
            if prediction.task.target == "multilabel":
                for label, mask in zip(self.names, decided, strict=True):
                    self.form.write(folder / label / f"{name}.png", mask)
            else:
                self.form.write(folder / f"{name}.png", decided.reshape(decided.shape[-2:]))
        if self.form is None or probabilities:
            prediction.save(folder / f"{name}.npz", self.names)

    def _name(self, place: int) -> str:
        """The name of an image's files: its own, with its suffix where two differ by that alone."""
        path = Path(str(self.rows[place][0]))
        several = Counter(Path(str(name)).with_suffix("") for name, *_ in self.rows)
        return str(path if several[path.with_suffix("")] > 1 else path.with_suffix(""))


def unlabelled_images(
    path: Path,
    kept: Preprocessing,
    channels: int,
    size: Sequence[int] | None,
    eight_bits: bool,
    batch_size: int,
    image_column: str | None = None,
    numbers: Sequence[int] = (),
    palette: Sequence[int] = (),
) -> Unlabelled:
    """The image in a file, those in a folder and in folders in it, or those that a table names.

    A file that cannot be read as the training images were is skipped, when it is its turn.

    Args:
        path: the file, the folder or, where there is an `image_column`, perhaps a CSV table, beside which files are.
        kept: of the training.
        channels: of the images.
        size: height and width that images are brought to for the networks; None: as they are.
        eight_bits: whether the training images had 8 bits a value.
        batch_size: whole images of a batch, where all have one `size`; else each is predicted alone.
        image_column: of a table.
        numbers: that stand for classes in mask files.
        palette: of mask files.

    Raises:
        ValueError: a folder holds no file, or the table lacks the column.
        FileNotFoundError: there is no such file.
    """
    home, names = _files(path, image_column)
    skipped: dict[int, str] = {}
    sizes: dict[int, tuple[int, int]] = {}
    mean, deviation = (torch.tensor(kept.statistics[f"image_{name}"]).view(-1, 1, 1) for name in ("mean", "deviation"))
    many = at_least("batch_size", batch_size, 1) if size is not None and kept.task.level == "image" else 1

    def image_at(place: int) -> Tensor | None:
        file = home / names[place]
        try:
            if file.suffix.lower() not in IMAGE_SUFFIXES:
                raise ValueError(f"{file} is none of the images that are accepted ({', '.join(IMAGE_SUFFIXES)})")
            image = read_image(file, channels)
            if (image.dtype == torch.uint8) is not eight_bits:
                told = ("8 bits", "more than 8 bits")
                found, known = told if not eight_bits else told[::-1]
                raise ValueError(f"{file} has {found} a value, and the training images had {known}")
        except ValueError as error:
            skipped[place] = str(error)
            return None
        sizes[place] = (image.size(1), image.size(2))
        if size is not None:
            image = transforms.resize(tv_tensors.Image(image), list(size), antialias=True).as_subclass(Tensor)
        return (image.float() - mean) / deviation

    def batches() -> Iterator[tuple[Sequence[int], Tensor]]:
        places: list[int] = []
        images: list[Tensor] = []
        for place in range(len(names)):
            if (image := image_at(place)) is not None:
                places.append(place)
                images.append(image)
            if images and (len(images) == many or place == len(names) - 1):
                yield places, torch.stack(images)
                places, images = [], []

    rows = [(name,) for name in names]
    if kept.task.level == "image":
        return Unlabelled(("file",), rows, skipped, batches)
    form = MaskForm(tuple(numbers), tuple(palette)) if numbers else None
    return UnlabelledImages(("file",), rows, skipped, batches, sizes, kept.names, form)


def _files(path: Path, image_column: str | None) -> tuple[Path, list[str]]:
    """The folder that the names of files are told from, and the names."""
    if image_column is not None and path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES:
        return path.parent, read_csv_table(path, [image_column]).columns[image_column]
    if not path.is_dir():
        return path.parent, [path.name]
    files = [each for each in sorted(path.rglob("*")) if each.is_file() and not is_hidden(each)]
    if not files:
        raise ValueError(f"{path}: the folder holds no file")
    return path, [str(each.relative_to(path)) for each in files]


def _resized(values: Tensor, size: tuple[int, int]) -> Tensor:
    if values.shape[-2:] == size:
        return values
    return functional.interpolate(values, size=size, mode="bilinear")
