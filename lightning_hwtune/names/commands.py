"""Commands and options that users of other tools type, and what `hwtune` has instead: data only."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["COMMANDS", "OPTIONS"]

COMMANDS: Mapping[str, str] = {
    **dict.fromkeys(("tune", "optimize", "start", "search", "sweep", "fit", "train", "resume", "continue"), "run"),
    **dict.fromkeys(("list", "ls", "studies", "show", "info", "ps", "watch"), "status"),
    **dict.fromkeys(("results", "pareto", "summary"), "front"),
    **dict.fromkeys(("dashboard", "ui", "web", "server", "view"), "serve"),
    **dict.fromkeys(("kill", "cancel", "pause", "abort", "end"), "stop"),
    **dict.fromkeys(("explain", "trial"), "why"),
    **dict.fromkeys(("log", "tail"), "logs"),
    **dict.fromkeys(("add", "ask", "suggest"), "enqueue"),
    **dict.fromkeys(("costs", "bill", "cost"), "ledger"),
    **dict.fromkeys(("figures", "figure", "draw"), "plot"),
    **dict.fromkeys(("validate", "dry-run"), "check"),
    **dict.fromkeys(("evaluate", "eval"), "test"),
    **dict.fromkeys(("worker", "join"), "agent"),
    **dict.fromkeys(("slurm", "submit"), "sbatch"),
}
"""Another tool's command -> the command here."""

OPTIONS: Mapping[str, str] = {
    **dict.fromkeys(("--n-trials", "--num-trials", "--trials", "--num-samples"), "--max-trials"),
    **dict.fromkeys(("--timeout", "--time-limit", "--time", "--max-hours"), "--max-time"),
    **dict.fromkeys(("--budget", "--cost"), "--max-cost"),
    **dict.fromkeys(("--n-jobs", "--jobs", "--workers", "--parallel"), "--max-parallel"),
    **dict.fromkeys(("--study-name", "--name"), "--study"),
    **dict.fromkeys(("--folder", "--directory", "--path", "--root"), "--dir"),
    **dict.fromkeys(("--db", "--database", "--url", "--backend"), "--storage"),
    **dict.fromkeys(("--json", "--csv", "-f"), "--format"),
    **dict.fromkeys(("--output", "--output-dir", "-o"), "--out"),
    **dict.fromkeys(("--silent", "--no-progress"), "--quiet"),
}
"""Another tool's option -> the option here, for the commands that have it."""
