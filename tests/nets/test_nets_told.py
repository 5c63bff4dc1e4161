"""C5, C6: every kind of condition reaches the answer by every entry, and "not said" is learned."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_nets_shapes import wake
from torch import Tensor

from ornstein.errors import ConfigError, UsageError
from ornstein.nets import MLP, NETS, DiT, UNet
from ornstein.nets.conditions import ENTRIES, KINDS, of_classes, resized

DECLARED: dict[str, dict[str, Any]] = {
    "kind of thing": {"kind": "class", "count": 3},
    "tags.all": {"kind": "tags", "count": 4},
    "size": {"kind": "numbers", "count": 2},
    "low": {"kind": "picture", "shape": [2, 3, 4]},
}
PLAIN = {name: DECLARED[name] for name in list(DECLARED)[:3]}
SMALL = {"widths": (8, 12), "blocks": (1, 1), "attention": (1,)}
ROWS = 4
SAID = {
    "kind of thing": torch.tensor([0, 1, 2, 1]),
    "tags.all": torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]]),
    "size": torch.tensor([[0.5, -1.0], [2.0, 0.0], [0.0, 0.0], [-1.5, 1.0]]),
    "low": torch.randn(ROWS, 2, 3, 4, generator=torch.Generator().manual_seed(3)),
}
UNSAID = {
    "kind of thing": torch.full((ROWS,), 3),
    "tags.all": torch.full((ROWS, 4), torch.nan),
    "size": torch.full((ROWS, 2), torch.nan),
    "low": torch.full((ROWS, 2, 3, 4), torch.nan),
}
MAKERS = {
    **{f"unet {e}": lambda c=DECLARED, e=e: UNet((1, 9, 6), c, e, **SMALL) for e in ENTRIES},
    "unet in patches": lambda c=DECLARED: UNet((1, 9, 6), c, **{**SMALL, "patch": 2}),
    **{f"dit {e}": lambda c=DECLARED, e=e: DiT((1, 9, 6), c, e, width=16) for e in ENTRIES},
    **{f"mlp {e}": lambda c=PLAIN, e=e: MLP((5,), c, e, width=16) for e in ENTRIES[:2]},
}


@pytest.fixture(params=MAKERS)
def net(request: pytest.FixtureRequest) -> UNet | DiT | MLP:
    torch.manual_seed(0)
    made = wake(MAKERS[request.param]())
    assert isinstance(made, (UNet, DiT, MLP))
    return made.eval()


def answer(net: UNet | DiT | MLP, cond: dict[str, Tensor]) -> Tensor:
    """What a net says of the same items under a condition."""
    x = torch.randn(ROWS, *net.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return net(x, torch.linspace(-1, 1, ROWS), cond)


def known(net: UNet | DiT | MLP, said: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: said[name] for name in net.options()["conditions"]}


def test_c5_each_condition_alone_changes_the_answer(net: UNet | DiT | MLP) -> None:
    nothing = answer(net, {})
    for name, value in known(net, SAID).items():
        moved = (answer(net, {name: value}) - nothing).abs().flatten(1).amax(1)
        assert bool((moved > 1e-5).all()), name


def test_each_part_of_a_condition_changes_the_answer(net: UNet | DiT | MLP) -> None:
    said = known(net, SAID)
    for name in ("tags.all", "size"):
        for part in range(said[name].shape[1]):
            other = said[name].clone()
            other[:, part] = 1.25 - other[:, part]
            moved = (answer(net, {**said, name: other}) - answer(net, said)).abs().flatten(1)
            assert bool((moved.amax(1) > 1e-6).all()), (name, part)


def test_what_is_marked_as_not_said_equals_what_is_missing(net: UNet | DiT | MLP) -> None:
    said, unsaid = known(net, SAID), known(net, UNSAID)
    assert torch.equal(answer(net, unsaid), answer(net, {}))
    for name in said:
        rest = {n: v for n, v in said.items() if n != name}
        assert torch.equal(answer(net, {**rest, name: unsaid[name]}), answer(net, rest)), name


def test_a_row_of_numbers_with_one_gap_says_nothing(net: UNet | MLP) -> None:
    gap = torch.tensor([[1.0, torch.nan]]).expand(ROWS, 2)
    assert torch.equal(answer(net, {"size": gap}), answer(net, {}))


def test_not_said_is_said_row_by_row_and_items_do_not_talk_to_each_other(
    net: UNet | DiT | MLP,
) -> None:
    said, unsaid = known(net, SAID), known(net, UNSAID)
    some = torch.tensor([True, False, True, False])

    def mixed(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(some.reshape(-1, *(1,) * (a.ndim - 1)), a, b)

    whole = answer(net, {name: mixed(said[name], unsaid[name]) for name in said})
    expected = mixed(answer(net, said), answer(net, unsaid))
    assert torch.allclose(whole, expected, atol=1e-5)


def test_not_said_is_neither_no_tag_nor_the_mean_number_nor_the_mean_picture(
    net: UNet | DiT | MLP,
) -> None:
    nothing = answer(net, {})
    for name, value in known(net, SAID).items():
        if name != "kind of thing":
            middle = answer(net, {name: torch.zeros_like(value)})
            assert bool(((middle - nothing).abs().flatten(1).amax(1) > 1e-5).all()), name


def test_the_order_of_the_declarations_and_of_the_values_means_nothing() -> None:
    def made(backwards: bool) -> Tensor:
        torch.manual_seed(0)
        step = -1 if backwards else 1
        net = UNet((1, 9, 6), dict(list(DECLARED.items())[::step]), "concat", **SMALL)
        return answer(wake(net), dict(list(SAID.items())[::step]))

    assert torch.equal(made(False), made(True))


def test_options_through_json_rebuild_the_net_with_its_weights(net: UNet | DiT | MLP) -> None:
    name = next(n for n, kind in NETS.items() if isinstance(net, kind))
    # Sorted keys, as in a model file, must not move a weight to another condition.
    twin = NETS[name](**json.loads(json.dumps(net.options(), sort_keys=True)))
    twin.load_state_dict(net.state_dict())
    said = known(net, SAID)
    assert torch.equal(answer(twin.eval(), said), answer(net, said))


@pytest.mark.parametrize("name", MAKERS)
def test_a_gradient_reaches_every_parameter_of_the_conditions(name: str) -> None:
    torch.manual_seed(0)
    net = wake(MAKERS[name]())
    said, unsaid = known(net, SAID), known(net, UNSAID)
    cond = {n: torch.cat([said[n], unsaid[n]]) for n in said}
    x = torch.randn(2 * ROWS, *net.shape)
    net(x, torch.randn(2 * ROWS), cond).square().sum().backward()
    for path, parameter in net.named_parameters():
        assert parameter.grad is not None, path
        assert parameter.grad.abs().sum() > 0, path


def test_c6_a_picture_is_seen_where_it_lies() -> None:
    net = wake(UNet((1, 16, 16), {"low": {"kind": "picture", "shape": [1, 4, 4]}},
                    widths=(8,), blocks=(1,), attention=()))  # fmt: skip
    x, noise = torch.zeros(1, 1, 16, 16), torch.zeros(1)
    low = torch.zeros(1, 1, 4, 4)
    plain = net(x, noise, {"low": low})
    low[..., 3, 0] = 5  # the lower left corner; group norms tell a little of it everywhere
    moved = (net(x, noise, {"low": low}) - plain).abs()[0, 0]
    assert moved[12:, :4].mean() > 3 * moved[:8, 8:].mean()


def test_a_picture_is_made_smaller_by_averaging_and_larger_smoothly() -> None:
    checks = torch.tensor([1.0, -1.0]).repeat(8)[:, None] * torch.tensor([1.0, -1.0]).repeat(8)
    assert resized(checks[None, None], (4, 4)).abs().max() < 0.1
    ramp = torch.linspace(0, 1, 4).expand(1, 1, 4, 4)
    larger = resized(ramp, (8, 8))[0, 0, 0]
    assert bool((larger.diff() >= 0).all())
    assert float(larger.mean()) == pytest.approx(0.5)
    assert torch.equal(resized(ramp, (4, 4)), ramp)


@pytest.mark.parametrize("shape", [(1, 7), (2, 4, 5, 3)])
def test_series_and_volumes_lie_beside_series_and_volumes(shape: tuple[int, ...]) -> None:
    own = [2, *(1 + n // 2 for n in shape[1:])]
    net = wake(UNet(shape, {"rough": {"kind": "picture", "shape": own}}, **SMALL))
    x, noise = torch.zeros(1, *shape), torch.zeros(1)
    one, two = (net(x, noise, {"rough": v * torch.ones(1, *own)}) for v in (0, 1))
    assert (one - two).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: MLP((2,), {"a": {"kind": "colour", "count": 2}}), "one of class, tags"),
        (lambda: MLP((2,), {"a": {"kind": "class"}}), "with its count"),
        (lambda: MLP((2,), {"a": {"kind": "class", "count": 0}}), "'a'"),
        (lambda: MLP((2,), {"a": {"kind": "class", "count": True}}), "'a'"),
        (lambda: MLP((2,), {"a": {"kind": "tags", "count": [2]}}), "'a'"),
        (lambda: MLP((2,), {"a": {"kind": "class", "count": 2, "more": 1}}), "nothing else"),
        (lambda: MLP((2,), {"a": 3}), "declared with a kind"),
        (lambda: MLP((2,), [3]), "a table"),
        (lambda: MLP((2,), {str(k): {"kind": "class", "count": 2} for k in range(65)}), "64"),
        (lambda: MLP((2,), {"low": DECLARED["low"]}), "as numbers"),
        (lambda: MLP((2,), of_classes(2), "cross-attention"), "take entry 'add' or 'concat'"),
        (lambda: MLP((2,), of_classes(2), "sum"), "entry must be one of"),
        (lambda: UNet((1, 8, 8), {"low": {"kind": "picture", "shape": [1, 8]}}), "cannot lie"),
        (lambda: UNet((1, 8, 8), {"low": {"kind": "picture", "shape": 8}}), "with its shape"),
        (
            lambda: UNet((1, 8, 8), of_classes(2), "cross-attention", attention=()),
            "needs a level with attention",
        ),
    ],
)
def test_a_declaration_that_cannot_be_is_refused_in_one_sentence(
    make: Callable[[], object], word: str
) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_condition_that_was_not_declared_or_has_another_shape_is_refused() -> None:
    net = UNet((1, 9, 6), DECLARED, **SMALL)
    with pytest.raises(UsageError, match=r"no condition 'sizes'\. Did you mean 'size'\?"):
        answer(net, {"sizes": SAID["size"]})
    with pytest.raises(UsageError, match=r"a picture of \(2, 3, 4\), not \(2, 9, 6\)"):
        answer(net, {"low": torch.zeros(ROWS, 2, 9, 6)})


def test_every_kind_is_tested_here() -> None:
    assert {said["kind"] for said in DECLARED.values()} == set(KINDS)
