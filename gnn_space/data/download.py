"""PyG's own downloads, with an error that says what to do without a network."""

from __future__ import annotations

from typing import Any

from torch_geometric.data import InMemoryDataset


def open_dataset(dataset: type[InMemoryDataset], **arguments: Any) -> InMemoryDataset:
    """A data set of PyG, downloaded where it is not there yet.

    Args:
        dataset: its class.
        **arguments: of its constructor.

    Raises:
        ConnectionError: it could not be downloaded; the message names the files that are missing
            and the folder where they belong.
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

    return Explained(**arguments)
