"""Plots for the docs, as SVG: the same bytes for the same figures, legible on white and on black."""

from collections.abc import Mapping, Sequence
from pathlib import Path

GREY, BLUE, ORANGE = "#7d7d7d", "#3b8ee0", "#e07b1f"  # each has a contrast of at least 3 to white and to #0d1117


def small_multiples(
    to: Path, panels: Mapping[str, tuple[Sequence[float], Sequence[float]]], axes: tuple[str, str], line: tuple[float, str]
) -> None:
    """Draw steps over time, a panel for each, with a level line across all of them. The upward axis is logarithmic. Raises OSError."""
    import matplotlib as mpl  # noqa: PLC0415 — half a second, for those who draw
    from matplotlib.figure import Figure  # noqa: PLC0415 — as above

    level, name = line
    with mpl.rc_context(
        {
            "svg.hashsalt": "longcall",  # ids by content, not by chance
            "svg.fonttype": "none",  # text stays text
            "font.family": "sans-serif",
            **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), GREY),
        }
    ):
        figure = Figure(figsize=(8, 1.9 * len(panels)), layout="constrained")
        for number, (axis, (title, (moments, values))) in enumerate(
            zip(figure.subplots(len(panels), 1, sharex=True, sharey=True), panels.items(), strict=True)
        ):
            axis.step(moments, values, where="post", color=BLUE, linewidth=1.2)
            axis.axhline(level, color=ORANGE, linewidth=1.2, linestyle="--")
            if number == 0:
                axis.annotate(
                    name,
                    (0.6, level),
                    xycoords=("axes fraction", "data"),
                    xytext=(0, 4),
                    textcoords="offset points",
                    ha="center",
                    color=ORANGE,
                )
            axis.set_yscale("symlog", linthresh=1)
            axis.set_title(title, loc="left", fontsize=10)
            axis.patch.set_alpha(0)
            axis.grid(visible=True, alpha=0.25, linewidth=0.5)
        figure.supylabel(axes[1], fontsize=10)
        axis.set_xlabel(axes[0])
        figure.patch.set_alpha(0)
        to.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(to, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
