"""Everything that touches git: one runner, one bare repository per project, pooled workspaces."""

from __future__ import annotations

import os

# GitPython looks for git when it is imported and fails there; our runner says it in a sentence when it is used.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
