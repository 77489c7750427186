"""Our decoders keep the contract that is shipped, on the real spaces."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from automl_plugins import Task, registry
from automl_plugins.decoders import DARTSPT, BestSampled, Decoder, Evolution, MostLikely, make_decoder
from automl_plugins.supernets import SupernetSpace
from automl_plugins.testing import DecoderContract
from gnn_space import AGNNSpace, EGNASSpace
from seg_space import AutoDeepLabSpace

GRAPH = Task("graph", "regression", 5, 1)
SPACES: dict[str, tuple[Callable[[int | None], SupernetSpace], Task]] = {
    "agnn": (lambda cap: AGNNSpace(layers=1, hidden_channels=(4, 8), heads=(1, 2), max_parameters=cap), GRAPH),
    "egnas": (lambda cap: EGNASSpace(cells=1, nodes=2, node_channels=4, edge_channels=2, max_parameters=cap), GRAPH),
    "auto-deeplab": (
        lambda cap: AutoDeepLabSpace(layers=2, blocks=1, filters=1, stem=(2, 2), max_parameters=cap),
        Task("pixel", "classes", 3, 4),
    ),
}
DECODERS: dict[str, Callable[[], Decoder]] = {
    "most-likely": MostLikely,
    "best-sampled": lambda: BestSampled(samples=12),
    "darts-pt": DARTSPT,
    "evolution": lambda: Evolution(population=4, generations=3),
}


class TestDecoders(DecoderContract):
    @pytest.fixture(autouse=True, params=[(decoder, space) for decoder in DECODERS for space in SPACES], ids="-".join)
    def _case(self, request: pytest.FixtureRequest) -> None:
        self.names: tuple[str, str] = request.param

    def decoder(self) -> Decoder:
        return DECODERS[self.names[0]]()

    def space(self, max_parameters: int | None) -> SupernetSpace:
        return SPACES[self.names[1]][0](max_parameters)

    def task(self) -> Task:
        return SPACES[self.names[1]][1]


def test_a_decoder_is_given_by_name_or_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = BestSampled(samples=3)
    assert make_decoder(decoder) is decoder
    assert set(registry.names("decoders")) >= set(DECODERS)
    assert type(make_decoder("best-sampled")) is BestSampled
    with pytest.raises(ValueError, match="there is no 'best-samples' among the decoders; did you mean 'best-sampled'"):
        make_decoder("best-samples")
