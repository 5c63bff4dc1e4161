"""What ``ornstein show`` draws: the network, its process, its training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ornstein.errors import UsageError

if TYPE_CHECKING:
    from ornstein.bundle import Bundle
    from ornstein.viz.anatomy import Anatomy


def draw_diagram(anatomy: Anatomy, facts: dict[str, Any], path: Path) -> Path:
    """Draw the network, headed by what it is and costs."""
    from ornstein.viz.anatomy import bytes_text, count_text, shape_text
    from ornstein.viz.diagram import diagram

    if path.suffix != ".svg":
        raise UsageError(f"a diagram is an SVG file; call it {path.with_suffix('.svg')}.")
    name = facts["run"]["name"] if facts["run"] else facts["fingerprint"]
    about = (
        f"{facts['parameters']:,} weights ({bytes_text(facts['bytes'])}), "
        f"{count_text(facts['flops'])}FLOP to look at one item once, about "
        f"{bytes_text(facts['training_bytes'])} to train at batch {facts['batch']}"
    )
    title = f"{name}: {facts['net']} for {shape_text(tuple(facts['shape']))}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(diagram(anatomy, title, about), encoding="utf-8")
    return path


def draw(bundle: Bundle, log: list[dict[str, Any]], folder: Path) -> dict[str, Path]:
    """Draw the schedule of training, and the losses if there is a log."""
    from ornstein.viz.schedule import compare

    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "process": compare(
            {bundle.process: bundle.make_process(bundle.process)}, folder / "process.png"
        )
    }
    if log:
        from ornstein.viz.training import draw_training

        files["training"] = draw_training(log, folder / "training.png")
    return files
