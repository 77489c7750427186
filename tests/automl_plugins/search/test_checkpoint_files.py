"""Checkpoints are written whole, and read only where they are what was written."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_plugins.search.checkpoint_files import BrokenCheckpointError, LastTwo, check_file, read_checkpoint

CONTENT = {"state_dict": {"net.logits": torch.arange(200.0), "weight": torch.ones(3, 3)}, "epoch": 7}


def same(first: object, second: object) -> bool:
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return torch.equal(first, second)
    return first == second


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "last.ckpt"
    torch.save(CONTENT, path)
    check_file(path)
    return path.read_bytes()


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_a_flipped_bit_is_noticed_or_changes_nothing(
    place: float, bit: int, whole: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.ckpt"
    position = int(place * len(whole))
    path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << bit]) + whole[position + 1 :])
    try:
        content = read_checkpoint(path)
    except BrokenCheckpointError:
        return
    assert same(content, CONTENT)


def test_a_bit_of_a_weight_is_noticed(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    position = whole.index(torch.tensor(77.0).numpy().tobytes())
    path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
    torch.load(path, weights_only=True)
    with pytest.raises(BrokenCheckpointError, match=r"last.ckpt is broken \(the checksum of .* is another\)"):
        read_checkpoint(path)


@pytest.mark.parametrize("length", [0, 1, 100, 1000, -1])
def test_a_file_that_is_cut_off_is_noticed(length: int, whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(whole[:length])
    with pytest.raises(BrokenCheckpointError, match=r"last.ckpt is broken"):
        read_checkpoint(path)


class Files:
    """A Trainer that saves a number, as far as `LastTwo` sees it."""

    is_global_zero = True
    strategy = property(lambda self: self)

    def __init__(self) -> None:
        self.number = 0

    def barrier(self, name: str) -> None: ...

    def save_checkpoint(self, path: Path, weights_only: bool) -> None:
        self.number += 1
        torch.save({"number": self.number}, path)


def number(path: Path | None) -> int | None:
    return None if path is None else read_checkpoint(path)["number"]


def test_the_newest_whole_one_of_the_last_two_is_gone_on_from(tmp_path: Path) -> None:
    trainer, files = Files(), LastTwo(tmp_path / "last.ckpt")
    assert files.newest() == (None, [])
    for expected in (1, 2, 3):
        files.save(trainer)
        assert number(files.newest()[0]) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.ckpt", "previous.ckpt"]
    files.path.write_bytes(b"")
    newest, broken = files.newest()
    assert number(newest) == 2
    assert [str(error) for error in broken] == [f"{files.path} is broken (it is empty)"]
    files.previous.write_bytes(random.Random(0).randbytes(500))
    newest, broken = files.newest()
    assert newest is None
    assert [error.path for error in broken] == [files.path, files.previous]


def test_a_kill_between_any_two_of_its_steps_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Kill(BaseException):
        pass

    replace = Path.replace
    for step in range(2):
        folder = tmp_path / str(step)
        folder.mkdir()
        trainer, files = Files(), LastTwo(folder / "last.ckpt")
        files.save(trainer)
        files.save(trainer)
        done = iter(range(2))

        def killed(path: Path, target: Path, step: int = step, done: object = done) -> Path:
            if next(done) == step:  # type: ignore[call-overload]
                raise Kill
            return replace(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", killed)
            with pytest.raises(Kill):
                files.save(trainer)
        assert number(files.newest()[0]) == 3
        files.save(trainer)
        assert number(files.newest()[0]) == 4


@pytest.mark.parametrize("is_first", [True, False])
def test_no_process_goes_on_before_the_new_one_has_its_name(is_first: bool, tmp_path: Path) -> None:
    class Watched(Files):
        is_global_zero = is_first
        waited = 0

        def barrier(self, name: str) -> None:
            self.waited += 1
            # Those of other processes are renamed by the first one.
            assert not is_first or number(files.path) == self.number

    trainer, files = Watched(), LastTwo(tmp_path / "last.ckpt")
    for saved in (1, 2):
        files.save(trainer)
        assert trainer.waited == saved
