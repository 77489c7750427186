"""`python -m automl_plugins`: the command line, where its script is not on the path."""

from __future__ import annotations

import sys

from automl_plugins.cli import main

# Worker processes import this file again, under another name.
if __name__ == "__main__":
    sys.exit(main())
