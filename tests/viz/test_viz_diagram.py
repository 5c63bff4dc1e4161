"""The anatomy of a network is what flows in it, and its drawing shows every part of it."""

from __future__ import annotations

from itertools import combinations
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import torch
from torch import Tensor, nn

from ornstein.cli.show import moments
from ornstein.nets import MLP, NETS, DiT, UNet
from ornstein.nets.sizes import SIZES
from ornstein.training.muon import Muon, matrices
from ornstein.viz.anatomy import Anatomy, examine
from ornstein.viz.diagram import SKIP, TALL, WIDE, diagram

SVG = "{http://www.w3.org/2000/svg}"
TOLD: dict[str, dict[str, Any]] = {
    "class": {"kind": "class", "count": 3},
    "low": {"kind": "picture", "shape": [2, 4, 4]},
}
KINDS: dict[str, tuple[tuple[int, ...], dict[str, dict[str, Any]]]] = {
    "unet": ((1, 12, 10), TOLD),
    "dit": ((1, 12, 10), TOLD),
    "mlp": ((5,), {"class": TOLD["class"]}),
}


def tiny(net: str) -> Anatomy:
    shape, told = KINDS[net]
    return examine(NETS[net](shape, told, **SIZES[net]["tiny"]), shape, told)


def reads(found: Anatomy) -> dict[str, set[str]]:
    return {row.name: set(row.reads) for row in found.rows}


class Braid(nn.Module):
    """Parts whose reading is known: c reads a and b through sums and slices, d reads the noise."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.d, self.table = nn.Linear(1, 4), nn.Embedding(3, 4)
        self.idle = nn.Dropout()

    def forward(self, x: Tensor, noise: Tensor, cond: dict[str, Tensor]) -> Tensor:
        first = self.idle(self.a(x))
        told = self.d(noise[:, None]) + self.table(cond["class"])
        second = self.b(torch.cat([first[:, :2], told[:, 2:]], 1))
        answer: Tensor = self.c(first.tanh() * second)
        return answer


def test_a_part_reads_what_reaches_it_through_no_other_part() -> None:
    found = examine(Braid(), (4,), {"class": TOLD["class"]})
    assert reads(found) == {
        "a": {"x"},
        "idle": {"a"},
        "d": {"noise"},
        "table": {"class"},
        "b": {"idle", "d", "table"},
        "c": {"idle", "b"},
    }


def test_each_block_of_the_way_up_reads_its_twin_of_the_way_down() -> None:
    net = UNet((1, 16, 16), widths=(8, 8, 8), blocks=(2, 1, 2), attention=())
    found = reads(examine(net, (1, 16, 16), {}))
    for k in range(5):
        assert f"down.{4 - k}" in found[f"up.{k}"]
    assert found["stem"] == {"x"}
    assert found["down.0"] == {"stem", "embed"}
    assert all("embed" in found[f"{way}.{k}"] for way in ("down", "up") for k in range(5))


def test_a_picture_is_read_by_the_first_layer_and_a_class_by_the_embedding() -> None:
    for net in ("unet", "dit"):
        found = reads(tiny(net))
        assert found["stem"] == {"x", "low"}
        assert found["embed"] == {"noise", "class"}


def test_the_places_of_a_part_are_those_that_grow_with_the_item() -> None:
    unet = UNet((3, 12, 10), widths=(8, 16), blocks=(1, 1), attention=())
    sizes = {row.name: row.places for row in examine(unet, (3, 12, 10), {}).rows}
    assert (sizes["embed"], sizes["down.0"], sizes["down.1"]) == (1, 120, 30)
    dit = DiT((3, 12, 10), width=120, depth=1)  # as long as wide: the shape alone cannot tell
    assert {r.places for r in examine(dit, (3, 12, 10), {}).rows} == {30, 1}
    assert {r.places for r in examine(MLP((5,), width=8, layers=1), (5,), {}).rows} == {1}


def test_operations_of_the_parts_are_counted_one_by_one() -> None:
    found = examine(
        UNet((3, 12, 10), widths=(8, 16), blocks=(1, 1), attention=()), (3, 12, 10), {}
    )
    cost = {row.name: row.flops for row in found.rows}
    assert cost["stem"] == 2 * 9 * 3 * 8 * 120  # twice: a product and a sum
    assert cost["shrink.0"] == 2 * 9 * 8 * 16 * 30
    assert sum(cost.values()) == found.flops


def test_the_memory_of_the_optimiser_is_what_it_remembers_after_a_step() -> None:
    net = UNet((1, 8, 8), widths=(16, 16), blocks=(1, 1), attention=())
    inner = matrices(net)
    rest = [p for p in net.parameters() if all(p is not q for q in inner)]
    for p in net.parameters():
        p.grad = torch.randn_like(p)
    kept = 0
    for optimiser in (Muon(inner), torch.optim.AdamW(rest)):
        optimiser.step()
        kept += sum(v.numel() for s in optimiser.state.values() for v in s.values() if v.ndim)
    assert moments(net, "muon") == kept
    assert moments(net, "adamw") == 2 * sum(p.numel() for p in net.parameters())


@pytest.fixture(params=NETS)
def drawn(request: pytest.FixtureRequest) -> tuple[Anatomy, ET.Element]:
    found = tiny(request.param)
    return found, ET.fromstring(diagram(found, "a <b> & c", "about"))


def boxes(root: ET.Element) -> list[tuple[float, float]]:
    """Corners of the cards."""
    sizes = {"width": f"{WIDE:.1f}", "height": f"{TALL:.1f}"}
    return [
        (float(rect.get("x", "")), float(rect.get("y", "")))
        for rect in root.iter(f"{SVG}rect")
        if {name: rect.get(name) for name in sizes} == sizes
    ]


def test_every_part_has_a_card_of_its_own_and_every_input_a_name(
    drawn: tuple[Anatomy, ET.Element],
) -> None:
    found, root = drawn
    words = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert {row.name for row in found.rows} <= set(words)
    assert all(any(w.split()[:1] == [name] for w in words) for name in found.inputs)
    cards = boxes(root)
    assert len(cards) == len(found.rows)
    for (x, y), (u, v) in combinations(cards, 2):
        assert abs(x - u) >= WIDE or abs(y - v) >= TALL
    wide, tall = (float(root.get(side, "")) for side in ("width", "height"))
    assert all(0 <= x <= wide - WIDE and 0 <= y <= tall - TALL for x, y in cards)
    assert root.findtext(f"{SVG}title") == "a <b> & c"


def test_f_a_network_that_halves_its_arrays_draws_itself_as_a_u_with_its_skips() -> None:
    net = UNet((1, 16, 16), widths=(8, 8, 8), blocks=(1, 1, 1), attention=())
    found = examine(net, (1, 16, 16), {})
    root = ET.fromstring(diagram(found, "u", ""))
    depth = dict(zip((row.name for row in found.rows), (y for _, y in boxes(root)), strict=True))
    assert depth["down.0"] < depth["down.1"] < depth["down.2"] == depth["up.0"]
    assert depth["up.0"] > depth["up.1"] > depth["up.2"] == depth["down.0"]
    skips = [p for p in root.iter(f"{SVG}path") if p.get("stroke") == SKIP]
    assert len(skips) == 2 + 1  # down.2 is next to up.0; one line more stands in the legend


def test_a_network_with_a_first_guess_is_looked_at_like_any_other() -> None:
    """Places are counted on the device "meta", which has no autocast to turn off."""
    shape, told = KINDS["unet"]
    net = UNet(shape, told, **SIZES["unet"]["tiny"], wiener=5)
    rows = {row.name: row for row in examine(net, shape, told).rows}
    assert rows["guess"].kind == "Wiener"
    assert rows["guess"].shape == shape
    assert "guess" in rows["stem"].reads
