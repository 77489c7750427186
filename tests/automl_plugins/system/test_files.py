from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from automl_plugins.errors import StudyError
from automl_plugins.system.files import WriteError, save_whole, whole_file, write_whole


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """The nearest thing to a full disk that any user may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    write_whole(tmp_path / "deep" / "table.csv", "name\nOrléans\n")
    assert (tmp_path / "deep" / "table.csv").read_bytes() == "name\nOrléans\n".encode()
    save_whole(tmp_path / "weights.pt", {"weight": torch.arange(3.0)})
    assert torch.load(tmp_path / "weights.pt", weights_only=True)["weight"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("parts", [1, 200], ids=["one tensor", "many"])
def test_a_full_disk_leaves_the_old_file_whole_and_is_one_line(tmp_path: Path, parts: int) -> None:
    text, weights = tmp_path / "summary.json", tmp_path / "network.pt"
    write_whole(text, "old")
    save_whole(weights, torch.ones(2))
    with files_no_larger_than(50_000):
        with pytest.raises(
            WriteError, match=r"^\S*summary.json cannot be written: File too large; .* make room"
        ) as one:
            write_whole(text, "new" * 100_000)
        with pytest.raises(WriteError, match=r"^\S*network.pt cannot be written: File too large; .* make room"):
            save_whole(weights, [torch.zeros(100_000 // parts) for _ in range(parts)])
    assert "\n" not in str(one.value)
    assert isinstance(one.value, StudyError)
    assert text.read_text() == "old"
    assert torch.load(weights, weights_only=True).tolist() == [1, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network.pt", "summary.json"]


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(WriteError, match=r"run/summary.json cannot be written: File exists"):
        write_whole(tmp_path / "run" / "summary.json", "{}")


def test_what_fails_while_it_is_written_leaves_the_old_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "table.csv", "old")
    with pytest.raises(TypeError), whole_file(tmp_path / "table.csv") as file:
        file.writelines([b"half", "of it"])
    assert (tmp_path / "table.csv").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut leaves a file of no length under the name."""
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (events.append("fsync"), fsync(descriptor))[1])
    monkeypatch.setattr(Path, "replace", lambda path, to: (events.append("rename"), replace(path, to))[1])
    write_whole(tmp_path / "table.csv", "new")
    assert events == ["fsync", "rename", "fsync"]


def test_what_a_killed_process_began_is_removed_and_what_another_writes_is_left(tmp_path: Path) -> None:
    begin = (
        "import os, sys; from pathlib import Path; from automl_plugins.system.files import whole_file\n"
        "with whole_file(Path(sys.argv[1])) as file: file.write(b'half'); file.flush(); os.kill(os.getpid(), 9)"
    )
    path = tmp_path / "table.csv"
    subprocess.run([sys.executable, "-c", begin, path], check=False)
    (killed,) = tmp_path.iterdir()
    assert killed.name.startswith("table.csv.")
    alive, elsewhere = tmp_path / f"table.csv.{os.getppid()}.part", tmp_path / "table.csv.another-machine.9.part"
    other = tmp_path / "table.csv.bak"
    for file in (alive, elsewhere, other):
        file.touch()
    write_whole(path, "new")
    assert sorted(tmp_path.iterdir()) == sorted([path, alive, elsewhere, other])
