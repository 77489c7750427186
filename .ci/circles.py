"""Circles of imports between files: the count of all imports, and every circle with its edges.

An import counts wherever it stands: at the top of a file, within a function (*lazy*), under `TYPE_CHECKING`, or as
`import_module("a.b")`; `import_module(f"a.{name}")` counts for every file of the package `a`. A name that is imported
from a package's `__init__.py` is an import of the file that defines it: `from gnn_space.agnn import AGNNSpace` in
`gnn_space/agnn/layer.py` closes a circle with the space's file.

    python .ci/circles.py [ROOT]        # exit code 1 where there is a circle
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("automl_plugins", "gnn_space", "seg_space")


class Import(NamedTuple):
    """One import of a file of ours by another."""

    importer: str
    imported: str
    kind: str  # "plain", "lazy" or "type-checking"
    line: int


class Mention(NamedTuple):
    """An import as it stands: `from module import name as bound`; `import a` has no names, and `a.*` is all of `a`."""

    module: str
    name: str
    bound: str
    kind: str
    line: int


def modules(root: Path) -> dict[str, Path]:
    """The files of the packages under `root`, by dotted name; a package has the name of its folder."""
    files = (path for package in PACKAGES for path in sorted((root / package).rglob("*.py")))
    return {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def imports(files: Mapping[str, Path]) -> list[Import]:
    """All imports between the files; a statement that imports several names of one file counts once."""
    read = {module: list(_mentions(ast.parse(path.read_text(encoding="utf-8")))) for module, path in files.items()}
    faces = {module: read[module] for module, path in files.items() if path.name == "__init__.py"}
    found = (
        Import(module, target, mention.kind, mention.line)
        for module, statements in read.items()
        for mention in statements
        for target in _targets(mention, files, faces)
        if target != module
    )
    return list(dict.fromkeys(found))


def circles(edges: list[Import]) -> list[list[str]]:
    """Groups of files each of which reaches all others of its group (Tarjan's strongly connected components)."""
    targets: dict[str, list[str]] = {}
    for edge in edges:
        targets.setdefault(edge.importer, []).append(edge.imported)
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    groups: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        path.append(module)
        for target in targets.get(module, ()):
            if target not in order:
                visit(target)
                lowest[module] = min(lowest[module], lowest[target])
            elif target in path:
                lowest[module] = min(lowest[module], order[target])
        if lowest[module] == order[module]:
            start = path.index(module)
            groups.append(sorted(path[start:]))
            del path[start:]

    for module in targets:
        if module not in order:
            visit(module)
    return sorted(group for group in groups if len(group) > 1)


def report(files: Mapping[str, Path], edges: list[Import], root: Path) -> Iterator[str]:
    """The lines to print: the counts, then each circle with its edges."""
    counts = Counter(edge.kind for edge in edges)
    found = circles(edges)
    yield (
        f"{len(files)} files, {len(edges)} imports of one another ({counts['lazy']} lazy, "
        f"{counts['type-checking']} for type checking), {len(found)} circles"
    )
    for group in found:
        yield f"a circle of {len(group)} files:"
        for edge in edges:
            if edge.importer in group and edge.imported in group:
                note = "" if edge.kind == "plain" else f" ({edge.kind})"
                yield f"  {files[edge.importer].relative_to(root)}:{edge.line} imports {edge.imported}{note}"


def main(arguments: list[str]) -> int:
    """Print the report on the packages of a folder; 1 where there is a circle."""
    sys.setrecursionlimit(10_000)
    root = Path(arguments[0]) if arguments else Path(__file__).parents[1]
    files = modules(root)
    edges = imports(files)
    sys.stdout.write("\n".join(report(files, edges, root)) + "\n")
    return 1 if circles(edges) else 0


def _mentions(node: ast.AST, kind: str = "plain") -> Iterator[Mention]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom) and child.module and not child.level:
            for alias in child.names:
                yield Mention(child.module, alias.name, alias.asname or alias.name, kind, child.lineno)
        elif isinstance(child, ast.Import):
            for alias in child.names:
                yield Mention(alias.name, "", "", kind, child.lineno)
        elif isinstance(child, ast.Call) and (module := _imported_by_name(child)):
            yield Mention(module, "", "", "lazy", child.lineno)
        yield from _mentions(child, _kind_within(child, kind))


def _kind_within(node: ast.AST, kind: str) -> str:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return "lazy"
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return "type-checking"
    return kind


def _imported_by_name(call: ast.Call) -> str:
    """The module that `import_module(...)` names, where its name, or the package's, can be read."""
    if ast.unparse(call.func).rpartition(".")[2] != "import_module" or not call.args:
        return ""
    start = call.args[0].values[0] if isinstance(call.args[0], ast.JoinedStr) else call.args[0]
    if not isinstance(start, ast.Constant) or not isinstance(start.value, str):
        return ""
    return start.value if start is call.args[0] else f"{start.value}*"


def _targets(mention: Mention, files: Mapping[str, Path], faces: Mapping[str, list[Mention]]) -> list[str]:
    """The files that an import leads to; none where it is not of ours."""
    package, star, _ = mention.module.partition(".*")
    if star:
        return [module for module in files if module.rpartition(".")[0] == package]
    if f"{package}.{mention.name}" in files:
        return [f"{package}.{mention.name}"]
    for face in faces.get(package, ()):
        if face.bound == mention.name and face.module in files and face.module != package:
            return _targets(face, files, faces)
    return [package] if package in files else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
