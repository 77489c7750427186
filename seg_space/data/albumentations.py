"""Augmentation by Albumentations, named as plain data: images and masks are transformed together."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from automl_plugins.system.nearest import did_you_mean
from seg_space.data.labels import IGNORED

Transforms = Sequence[str | Mapping[str, Any]]
"""Names of Albumentations' classes, each alone or as `{name: {argument: value}}`; `transforms` of one nest."""

_NO_TRANSFORMS = ("Lambda", "ReplayCompose", "ToTensorV2", "ToTensor3D")
"""Classes that call what they are given, or give something else than an image."""


class Albumentations:
    """Albumentations' transforms (Buslaev et al. 2020, arXiv 1809.06839), one after the other.

    Their draws follow from torch's generator alone. Pixels that a rotation or a shift leaves empty have the mean colour
    in images, and do not count in masks, unless `fill` and `fill_mask` say otherwise.

    Args:
        named: such as `["HorizontalFlip", {"Rotate": {"limit": 15, "p": 0.5}}]`.
        mean: of each channel, `[channels]`, in the images' own values.

    Raises:
        ValueError: there is no such class, or it does not take an argument.
        ImportError: Albumentations is not installed.
    """

    def __init__(self, named: Transforms, mean: Tensor) -> None:
        self.named, self.mean = named, mean
        self._composed = _library().Compose([self._made(each) for each in named])

    def __call__(self, image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Another view of an image `[channels, height, width]` and its mask `[..., height, width]`.

        A target of the whole image, a number or a vector, stays as it is.

        Raises:
            ValueError: a transform fails, gives another number of channels, or an image and a mask of different sizes.
        """
        self._composed.set_random_seed(int(torch.randint(2**31, ()).item()))
        given = {"image": np.ascontiguousarray(image.permute(1, 2, 0).numpy())}
        if target.dim() >= 2:
            given["mask"] = _channels_last(target)
        try:
            found = self._composed(**given)
        except Exception as error:  # of many kinds: images that are too small, further inputs that there are not
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(f"augmentation {self.named}: on an image of {list(image.shape)}: {reason}") from error
        view = torch.from_numpy(np.ascontiguousarray(found["image"]))
        view = view.permute(2, 0, 1) if view.dim() == 3 else view.unsqueeze(0)
        if len(view) != len(image) or view.dtype != image.dtype:
            raise ValueError(
                f"augmentation {self.named}: an image of {len(image)} channels of {image.dtype} became one of "
                f"{len(view)} of {view.dtype}; leave out what changes them: images are normalised afterwards"
            )
        if target.dim() < 2:
            return view, target
        mask = torch.from_numpy(np.ascontiguousarray(found["mask"])).to(target.dtype)
        mask = mask.permute(2, 0, 1) if target.dim() == 3 and mask.dim() == 3 else mask
        mask = mask.unsqueeze(0) if target.dim() == 3 and mask.dim() == 2 else mask
        if mask.shape[-2:] != view.shape[-2:]:
            raise ValueError(
                f"augmentation {self.named}: the image is of {list(view.shape[-2:])} pixels and its mask of "
                f"{list(mask.shape[-2:])}; leave out what changes one alone"
            )
        return view, mask

    def _made(self, named: str | Mapping[str, Any]) -> Any:
        name, arguments = parts_of(named)
        made = _class_of(name)
        taken = inspect.signature(made).parameters
        for argument in arguments:
            if argument not in taken:
                raise ValueError(f"augmentation {name}.{argument}: there is none; {did_you_mean(argument, taken)}")
        given = dict(arguments)
        if "transforms" in given:
            given["transforms"] = [self._made(each) for each in given["transforms"]]
        if "fill_mask" in taken:
            given = {"fill": tuple(self.mean.tolist()), "fill_mask": IGNORED, **given}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                return made(**given)
        except Exception as error:  # of many kinds, by the library that it checks arguments with
            raise ValueError(f"augmentation {name}: {' '.join(str(error).split())}") from error


def parts_of(named: str | Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The name and the arguments of a transform.

    Raises:
        ValueError: it is neither a name nor one name with arguments.
    """
    if isinstance(named, str):
        return named, {}
    if isinstance(named, Mapping) and len(named) == 1:
        ((name, arguments),) = named.items()
        if isinstance(name, str) and isinstance(arguments, Mapping | None):
            return name, arguments or {}
    raise ValueError(
        f"augmentation is a list of names of Albumentations' transforms, each alone or with arguments, such as "
        f"HorizontalFlip or {{Rotate: {{limit: 15}}}}; got {named!r}"
    )


def check_transforms(named: Transforms) -> None:
    """Refuse what names no transforms, without looking at the library.

    Raises:
        ValueError: something does not.
    """
    for each in named:
        _, arguments = parts_of(each)
        nested = arguments.get("transforms", ())
        if isinstance(nested, str) or not isinstance(nested, Sequence):
            raise ValueError(f"augmentation: transforms is a list of transforms; got {nested!r}")
        check_transforms(nested)


def _library() -> Any:
    # It asks the internet for a newer version of itself when it is imported.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        import albumentations
    except ImportError as error:
        raise ImportError(
            f'augmentation needs Albumentations: pip install "automl-plugins[augmentation]" ({error})'
        ) from error
    return albumentations


def _class_of(name: str) -> Any:
    library = _library()
    bases = library.BasicTransform, library.BaseCompose
    known = [
        each
        for each in dir(library)
        if inspect.isclass(found := getattr(library, each))
        and issubclass(found, bases)
        and not inspect.isabstract(found)
        and each not in ("BasicTransform", "BaseCompose", *_NO_TRANSFORMS)
    ]
    if name not in known:
        raise ValueError(f"augmentation {name!r}: Albumentations has no such transform; {did_you_mean(name, known)}")
    return getattr(library, name)


def _channels_last(target: Tensor) -> np.ndarray[Any, Any]:
    mask = target.permute(1, 2, 0) if target.dim() == 3 else target
    kind = np.float32 if target.is_floating_point() else np.uint8
    return np.ascontiguousarray(mask.numpy().astype(kind))
