from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from automl_plugins.training.once import warn_once

pytest.register_assert_rewrite("automl_plugins.testing")

# With several threads a process, two busy processes slow each other down many times over.
torch.set_num_threads(1)

# Example times on a shared machine say nothing; CI repeats what a developer sees.
settings.register_profile("automl-plugins", deadline=None, derandomize=True, print_blob=False)
settings.load_profile("automl-plugins")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse names with addresses, `ids=str` of an object: two processes of pytest-xdist would differ in them."""
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(f"{item.nodeid}: a test's name has an address; leave `ids` out")


@pytest.fixture(scope="session", autouse=True)
def _quiet_lightning() -> None:
    # Lightning sets its loggers' levels when it is imported, so it is imported first.
    import pytorch_lightning  # noqa: F401

    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


@pytest.fixture(autouse=True)
def _nothing_was_warned_of() -> None:
    warn_once.cache_clear()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the data sets that are too large for the repository."""
    variable = os.environ.get("AUTOML_PLUGINS_DATA")
    folder = Path(variable) if variable else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no data folder; set AUTOML_PLUGINS_DATA to the one that holds graph/ and tables/")
    return folder
