"""Hooks of mkdocs: files of the repository that stand outside docs/ become pages of the site, and links lead to them.

The README is the site's first page; the changelog, `CONTRIBUTING.md`, the benchmarks and every example have one each.
A link that leads to none of them is left as it is, and mkdocs, which is strict, refuses it.

Every room of `automl_plugins`, and each package of spaces, has a page of reference: the prose and the examples of
`docs/api/ROOM.md`, where that is, and below them the docstrings of all its files.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCUMENTS = {
    "README.md": "index.md",
    "LICENSE": "license.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
}
EXAMPLES = sorted(f"examples/{path.name}" for path in (ROOT / "examples").iterdir() if path.suffix in (".py", ".yaml"))
PAGES = DOCUMENTS | {example: f"{example}.md" for example in EXAMPLES}
LANGUAGES = {".py": "python", ".yaml": "yaml"}
ROOMS = {
    f"api/{folder.name}.md": ".".join(folder.relative_to(ROOT).parts)
    for folder in [*sorted((ROOT / "automl_plugins").iterdir()), ROOT / "gnn_space", ROOT / "seg_space"]
    if (folder / "__init__.py").is_file()
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name the examples and the rooms in the navigation."""
    for section in config.nav or []:
        if "Examples" in section:
            section["Examples"] = [{Path(example).name: PAGES[example]} for example in EXAMPLES]
        if "Reference" in section:
            section["Reference"] += [{package.removeprefix("automl_plugins."): page} for page, package in ROOMS.items()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside docs/."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        if source in EXAMPLES:
            text = f"# {Path(source).name}\n\n```{LANGUAGES[Path(source).suffix]}\n{text}```\n"
        files.append(File.generated(config, page, content=text))
    for page, package in ROOMS.items():
        if files.get_file_from_path(page) is None:
            files.append(File.generated(config, page, content=f"# {package}\n"))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links between files of the repository to their pages, and end a room's page with its docstrings."""
    sources = {target: source for source, target in PAGES.items()}
    here = page.file.src_uri
    source = sources.get(here, f"docs/{here}")
    linked = re.sub(r"(?<=\]\()([^)#:]+)(?=[)#])", lambda link: _target(link[1], source, here), markdown)
    return f"{linked}\n\n::: {ROOMS[here]}\n" if here in ROOMS else linked


def _target(link: str, source: str, page: str) -> str:
    leads_to = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    target = PAGES.get(leads_to, leads_to.removeprefix("docs/") if leads_to.startswith("docs/") else None)
    return link if target is None else posixpath.relpath(target, posixpath.dirname(page) or ".")
