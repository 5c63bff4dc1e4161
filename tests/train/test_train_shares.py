"""R11: the ranks of a training see the batches that one alone would see, row by row."""

from __future__ import annotations

import pytest
import torch
from test_train_loop import OBJECTIVE, Points, Small
from torch import Tensor, nn

from ornstein.core import EDMTarget
from ornstein.errors import ConfigError
from ornstein.model import Model
from ornstein.nets.dropout import Dropout
from ornstein.training.batches import Batches, drawn
from ornstein.training.coupling import transport
from ornstein.training.loop import Settings, Trainer
from ornstein.training.objective import Objective
from ornstein.training.ranks import ALONE, Share

NULL = {"class": torch.tensor([3])}


class Dropping(Small):
    """The small network with dropout that knows its rows."""

    def __init__(self) -> None:
        super().__init__()
        self.body[4] = Dropout(0.3)


def dropping(**options: object) -> Trainer:
    torch.manual_seed(0)
    how = Settings(**{"batch": 30, **options})  # type: ignore[arg-type]
    return Trainer(Model(Dropping(), EDMTarget()), Points(), OBJECTIVE, how, null=NULL)


@pytest.mark.parametrize("how", [{}, {"flip": True}, {"bins": (0.1, 0.2)}, {"batch": 200}])
@pytest.mark.parametrize("coupled", [False, True])
def test_r11_the_rows_of_three_ranks_are_those_of_one(
    how: dict[str, object], coupled: bool
) -> None:
    objective = OBJECTIVE
    if coupled:
        objective = Objective(OBJECTIVE.process, OBJECTIVE.law, OBJECTIVE.weight, transport)
    settings = Settings(**{"batch": 32, "condition_dropout": 0.3, **how})  # type: ignore[arg-type]
    for step in (0, 7):
        whole = Batches(Points(), objective, settings, NULL, ALONE)(step)
        parts = [Batches(Points(), objective, settings, NULL, Share(k, 3))(step) for k in range(3)]
        assert torch.equal(torch.cat([part.clean for part in parts]), whole.clean)
        assert torch.equal(torch.cat([part.eps for part in parts]), whole.eps)
        assert torch.equal(torch.cat([p.cond["class"] for p in parts]), whole.cond["class"])
        assert all(torch.equal(part.u, whole.u) for part in parts)
        assert [part.rows.start for part in parts][1:] == [part.rows.stop for part in parts][:-1]


def test_rows_of_a_large_table_are_cut_out_without_drawing_it() -> None:
    shape = (40, 3, 100, 100)  # two rows to a piece
    whole = drawn(torch.randn, shape, slice(0, 40), 5, "noise")
    assert torch.equal(drawn(torch.randn, shape, slice(7, 16), 5, "noise"), whole[7:16])
    assert not torch.equal(whole[0], whole[2])
    assert float(whole.std()) == pytest.approx(1, abs=0.01)
    assert float(whole.mean()) == pytest.approx(0, abs=0.01)


def test_fewer_items_than_ranks_are_refused_with_the_setting_to_change() -> None:
    with pytest.raises(
        ConfigError, match=r"batch of 3 cannot be shared by 4 ranks; set train.batch"
    ):
        Share(0, 4).rows(3)


def test_dropout_drops_each_row_by_its_key_alone() -> None:
    layer = Dropout(0.3)
    x = torch.ones(6, 50, 40)
    layer.rows = torch.tensor([11, 2**63 - 5, 7, 8, 9, 7 + 2**33])
    together = layer(x)
    layer.rows = layer.rows[2:5]
    assert torch.equal(layer(x[2:5]), together[2:5])
    kept = together != 0
    assert torch.equal(together[kept], torch.full_like(together[kept], 1 / 0.7))
    # 12,000 numbers: four standard deviations are 0.017.
    assert float(kept.float().mean()) == pytest.approx(0.7, abs=0.017)
    agree = [(kept[i] == kept[j]).float().mean() for i in range(6) for j in range(i)]
    assert all(float(a) == pytest.approx(0.58, abs=0.045) for a in agree)  # 0.7² + 0.3²
    assert torch.equal(layer.eval()(x), x)


def test_pieces_drop_what_the_whole_batch_drops() -> None:
    whole, pieces = dropping(), dropping(accumulate=4)
    for made in (whole, pieces):
        made.backward(3)
    for a, b in zip(whole.model.parameters(), pieces.model.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


class Counting(nn.Module):
    """A block that counts how often it is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.calls = nn.Linear(16, 16), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + torch.tanh(self.inner(x))


class Deep(nn.Module):
    """Blocks in a list, as the networks here have them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.out = nn.Linear(3, 16), nn.Linear(16, 2)
        self.blocks = nn.ModuleList(Counting() for _ in range(4))

    def forward(self, x: Tensor, noise: Tensor, cond: dict[str, Tensor]) -> Tensor:
        y = self.stem(torch.cat([x, noise[:, None]], 1))
        for block in self.blocks:
            y = block(y)
        return self.out(y)


def test_activations_computed_again_leave_every_loss_as_it_is() -> None:
    def losses(again: bool) -> tuple[list[float], int]:
        torch.manual_seed(0)
        how = Settings(batch=16, checkpoint_activations=again)
        made = Trainer(Model(Deep(), EDMTarget()), Points(), OBJECTIVE, how)
        return [made.step(20).loss for _ in range(10)], made.model.net.blocks[0].calls

    plain, again = losses(again=False), losses(again=True)
    assert plain[0] == again[0]
    assert (plain[1], again[1]) == (10, 20)
