"""PyG's data sets: downloads, raw files and processed ones, with errors that say what to do."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import InMemoryDataset


def open_dataset(
    dataset: type[InMemoryDataset], check_raw: Callable[[Path], None] | None = None, **arguments: Any
) -> InMemoryDataset:
    """A data set of PyG, downloaded where it is not there yet.

    PyG unpickles what it does not know in the files that it has processed. Ours are tensors; a file with anything else
    is not read.

    Args:
        dataset: its class.
        check_raw: looks at the folder of raw files before they are processed.
        **arguments: of its constructor.

    Raises:
        ConnectionError: it could not be downloaded; the message names the files that are missing
            and the folder where they belong.
        ValueError: raw or processed files are broken, or not what they should be.
    """
    from aiohttp import ClientError  # a dependency of PyG; not all of its errors are OSErrors

    class Explained(dataset):
        def download(self) -> None:
            try:
                super().download()
            except (OSError, ClientError) as error:
                names = self.raw_file_names
                names = [names] if isinstance(names, str) else list(names)
                raise ConnectionError(
                    f"{dataset.__name__} {arguments.get('name', '')!r} could not be downloaded ({error}). "
                    f"Without a network, put its raw files ({', '.join(names)}) into {self.raw_dir}"
                ) from error

        def _process(self) -> None:
            for path in sorted(Path(self.processed_dir).glob("*.pt")):
                _check_processed(path)
            super()._process()

        def process(self) -> None:
            if check_raw is not None:
                check_raw(Path(self.raw_dir))
            try:
                super().process()
            except Exception as error:  # whatever a reader of text stumbles over
                told = f"{type(error).__name__}: {error}".splitlines()[0]
                raise ValueError(
                    f"the raw files in {self.raw_dir} cannot be read ({told}); put whole ones there, or remove the "
                    "folder to have them downloaded anew"
                ) from error

    return Explained(**arguments)


def _check_processed(path: Path) -> None:
    try:
        # Tensors are not read, but mapped.
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(
            f"{path} is broken, or holds more than tensors, and is not read ({told}); remove the folder "
            f"{path.parent}, which is made anew from the raw files"
        ) from error
