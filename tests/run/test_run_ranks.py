"""R7, R11, R21-R23: many ranks train as one would; a rank that is lost costs no step."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet import STEPS, TORCHRUN, ended, losses, ranks, start, step, wait_for

from figures import figure, quiet, times


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """The losses of one rank."""
    runs = tmp_path_factory.mktemp("alone")
    assert ended(start(runs))[0] == 0
    return losses(runs)


def difference(found: dict[int, float], truth: dict[int, float]) -> float:
    assert list(found) == list(truth)
    return max(abs(found[k] - truth[k]) / abs(truth[k]) for k in truth)


def test_r11_a_stop_sent_to_any_of_two_ranks_stops_both_and_one_alone_goes_on(
    alone: dict[int, float], tmp_path: Path
) -> None:
    training = start(tmp_path, "--nproc", "2")
    wait_for(lambda: step(tmp_path) > 5)
    os.kill(ranks(training)[1], signal.SIGTERM)
    code, said = ended(training)
    assert code == 75
    assert said.count("Run the same command to go on.") == 1  # rank 0 alone speaks
    done = step(tmp_path)
    assert done < STEPS
    assert f"stopped at step {done}" in said
    assert ended(start(tmp_path))[0] == 0
    gap = difference(losses(tmp_path), alone)
    assert gap < 1e-6
    figure("R11", "2 ranks, then 1, against 1", f"losses within {gap:.1e}, relative")


FAILS = """
import os
if os.environ.get("RANK") == "0":
    from ornstein.errors import DataError
    from ornstein.training.batches import Batches
    from ornstein.training.ranks import Ranks
    whole = Batches.__call__
    def fails(self, step):
        if step == 3 and isinstance(self.share, Ranks):
            raise DataError("40 of 2,000 pictures cannot be read any more.")
        return whole(self, step)
    Batches.__call__ = fails
"""


def test_what_ends_rank_0_in_the_middle_of_a_step_ends_both_and_is_said(tmp_path: Path) -> None:
    """It told the other that all was over, who was at the step and did not listen: both hung."""
    (tmp_path / "sitecustomize.py").write_text(FAILS)
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    training = start(tmp_path, "--nproc", "2", PYTHONPATH=paths)
    wait_for(lambda: step(tmp_path) == 3 or training.poll() is not None)
    both = ranks(training)
    try:
        code, said = ended(training, 40)  # nothing to wait for: each sees that the other is gone
    except subprocess.TimeoutExpired:
        for pid in both.values():
            os.kill(pid, signal.SIGKILL)
        raise
    assert code in (65, 69)  # that of the first to end
    assert said.count("error: 40 of 2,000 pictures cannot be read any more.") == 1
    assert "Traceback" not in said


def kill_rank(training: subprocess.Popen[str], runs: Path, goal: int) -> float:
    """Kill rank 1 when a step is reached; seconds until a step is done that was not yet."""
    wait_for(lambda: step(runs) >= goal)
    os.kill(ranks(training)[1], signal.SIGKILL)
    before, killed = step(runs), time.monotonic()
    wait_for(lambda: step(runs) > before + 1 or training.poll() is not None)
    return time.monotonic() - killed


@pytest.mark.slow
@pytest.mark.torture
def test_r21_a_killed_rank_is_started_again_and_no_loss_differs(tmp_path: Path) -> None:
    straight, began = tmp_path / "straight", time.monotonic()
    training = start(straight, "--nproc", "2")
    wait_for(lambda: step(straight) > 0)
    begun = time.monotonic() - began  # what a start takes here, which is what is lost
    assert ended(training)[0] == 0
    chance, lost, alone = random.Random(21), [], quiet()
    for k, kills in enumerate((2,) if times(0, 1) == 0 else (3, 3, 3, 1)):
        runs = tmp_path / str(k)
        training = start(runs, by=TORCHRUN)
        moments = sorted(chance.sample(range(5, STEPS - 5), kills))
        lost += [kill_rank(training, runs, goal) for goal in moments]
        code, said = ended(training)
        assert code == 0, said
        assert losses(runs) == losses(straight)
    assert max(lost) <= (30 if alone else max(30, 4 * begun))
    figure(
        "R21", "rank 1 of 2 killed",
        f"{len(lost)}/{len(lost)} go on, all losses bit-equal; {min(lost):.0f}-{max(lost):.0f} s "
        f"lost, where a start takes {begun:.0f} s",
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.torture
@pytest.mark.parametrize("frozen", [0, 1])
def test_r22_a_frozen_rank_is_named_and_the_others_end(frozen: int, tmp_path: Path) -> None:
    training = start(tmp_path, "--nproc", "2", ORNSTEIN_RANK_TIMEOUT="10")
    wait_for(lambda: step(tmp_path) > 5)
    pids = ranks(training)
    os.kill(pids[frozen], signal.SIGSTOP)
    began = time.monotonic()
    wait_for(lambda: 1 - frozen not in ranks(training), 40)
    took = time.monotonic() - began
    os.kill(pids[frozen], signal.SIGCONT)
    code, said = ended(training, 90)
    assert code == 69
    assert f"rank {frozen} silent for 10 s, seen from rank {1 - frozen}" in said
    assert took < 20
    figure("R22", f"rank {frozen} of 2 frozen, limit 10 s", f"the other ended after {took:.0f} s")


PLACES = {"here": "10.77.0.1", "there": "10.77.0.2"}


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def network() -> Iterator[None]:
    """Two network namespaces, joined by a cable."""
    try:
        for place in PLACES:
            ip("netns", "add", f"orn-{place}")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine lets nobody make network namespaces")
    try:
        ip("link", "add", "orn-here", "type", "veth", "peer", "name", "orn-there")
        for place, address in PLACES.items():
            inside = ("-n", f"orn-{place}")
            ip("link", "set", f"orn-{place}", "netns", f"orn-{place}")
            ip(*inside, "addr", "add", f"{address}/24", "dev", f"orn-{place}")
            for device in (f"orn-{place}", "lo"):
                ip(*inside, "link", "set", device, "up")
        yield
    finally:
        for place in PLACES:
            ip("netns", "del", f"orn-{place}")


def nodes(runs: Path) -> list[subprocess.Popen[str]]:
    """One rank in each namespace."""
    return [
        start(
            runs, within=["ip", "netns", "exec", f"orn-{place}"],
            RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK="0", MASTER_ADDR=PLACES["here"],
            MASTER_PORT="29533", GLOO_SOCKET_IFNAME=f"orn-{place}", ORNSTEIN_RANK_TIMEOUT="15",
        )
        for rank, place in enumerate(PLACES)
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.torture
def test_r23_nodes_cut_off_from_each_other_both_end_and_go_on_when_healed(
    tmp_path: Path, network: None
) -> None:
    straight = tmp_path / "straight"
    assert [ended(node)[0] for node in nodes(straight)] == [0, 0]
    cut = tmp_path / "cut"
    both = nodes(cut)
    wait_for(lambda: step(cut) > 25)
    ip("-n", "orn-there", "link", "set", "orn-there", "down")
    began = time.monotonic()
    answers = [ended(node, 90) for node in both]
    took = time.monotonic() - began
    assert [code for code, _ in answers] == [69, 69]
    assert "rank 1 silent for 15 s, seen from rank 0" in answers[0][1]
    assert "rank 0 silent for 15 s, seen from rank 1" in answers[1][1]
    ip("-n", "orn-there", "link", "set", "orn-there", "up")
    assert [ended(node)[0] for node in nodes(cut)] == [0, 0]
    assert losses(cut) == losses(straight)
    assert took < 30
    figure(
        "R23", "two network namespaces, link down, limit 15 s",
        f"both ended after {took:.0f} s; healed, every loss bit-equal",
    )  # fmt: skip


@pytest.mark.slow
def test_r11_three_ranks_go_on_bit_for_bit(tmp_path: Path) -> None:
    """The sum of three numbers depends on their order, which must not change with a restart."""
    straight, parts = tmp_path / "straight", tmp_path / "parts"
    assert ended(start(straight, "--nproc", "3", steps=40))[0] == 0
    training = start(parts, "--nproc", "3", steps=40)
    wait_for(lambda: step(parts) > 12)
    training.terminate()
    assert ended(training)[0] == 75
    assert ended(start(parts, "--nproc", "3", steps=40))[0] == 0
    assert losses(parts) == losses(straight)


@pytest.mark.slow
def test_r11_weights_held_in_parts_train_alike_and_go_on_whole(
    alone: dict[int, float], tmp_path: Path
) -> None:
    training = start(tmp_path, "--nproc", "2", "shard=true")
    wait_for(lambda: step(tmp_path) > 15)
    os.kill(ranks(training)[0], signal.SIGKILL)
    assert ended(training)[0] == 69
    assert ended(start(tmp_path, "shard=true"))[0] == 0  # alone: nothing to hold in parts
    assert difference(losses(tmp_path), alone) < 1e-6


@pytest.mark.slow
def test_fewer_items_than_ranks_are_refused_by_all(tmp_path: Path) -> None:
    code, said = ended(start(tmp_path, "--nproc", "2", "batch=1"))
    assert code == 2
    assert said.count("error: ") == 1
    assert "a batch of 1 cannot be shared by 2 ranks" in said
