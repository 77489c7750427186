from __future__ import annotations

import sys
from pathlib import Path

# The folder's own helpers, which write small data sets.
sys.path.insert(0, str(Path(__file__).parent))
