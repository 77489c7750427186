"""The keys of a search, known without importing it."""

from __future__ import annotations

SEARCH = "automl_plugins.search.ArchitectureSearch"
"""Where the settings under `search` are declared."""
SUPPLIED = ("path", "seed")
"""Those of its arguments that follow from the folder and the seed."""
SEARCH_KEYS = ("space", "data", "module", "trainer", "search", "seed", "folder")
"""The keys of a search's configuration."""
SCRIPT_KEYS = ("target", "space", "task", "search", "seed", "folder")
"""The keys of a search in a training script."""
