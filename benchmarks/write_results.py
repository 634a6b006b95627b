"""Writes `docs/results.md`, its plots and a table of README.md from `benchmarks/results`; runs no benchmark.

    make bench                                  # all benchmarks, then this
    python benchmarks/write_results.py          # only the page, from the existing results

Every number on the page is read from a file; only words and targets are typed here. A benchmark without a file is
listed as not run.
"""

from __future__ import annotations

import json
import operator
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import overview_page, readme_table, replay_page, rules_page, searchers_page, surroundings_page
from benchmarks.page_parts import shown, table

__all__ = ["page"]

ROOT = Path(__file__).parents[1]
RESULTS, PAGE, IMAGES = ROOT / "benchmarks" / "results", ROOT / "docs" / "results.md", ROOT / "docs" / "images"
README = ROOT / "README.md"

Document = Mapping[str, Any]

TITLES = {
    "replay": "Speed-up on measured trainings, with hardware in the space",
    "replay_fronts": "Fully trained configurations with default settings, on curves that cross",
    "replay_choose": "Which order inside a front",
    "searchers": "Searchers on functions and in studies",
    "deadline": "Studies under a limit of time or money",
    "noise": "How certain a front is",
    "scaling": "Seconds of a step on more nodes",
    "rubberband": "Elastic plans for a deadline",
    "allocation": "How many devices a trial deserves",
    "elastic": "Studies with a deadline and a budget",
    "decisions": "Time of one decision",
    "scale": "A study on 1,024 devices",
    "cluster": "What a cluster adds to training",
    "pasha": "PASHA",
    "transfer": "What a prior gains, and what a misleading prior costs",
    "prior_demo": "The prior on real training",
    "hydra_sweep": "A Hydra sweep, killed and continued",
    "optuna_side_by_side": "Next to the Optuna sweeper",
    "overhead": "What the toolkit adds to training",
    "first_study": "A first study in three tools",
    "crash": "Sudden deaths of the controller",
    "faults": "Faults one by one",
    "database": "Faults of a server database",
    "fuzz": "Thousands of unusual inputs",
    "foreign_libraries": "Libraries that run their own training",
    "gpu_check": "On one GPU",
    "import_time": "Import",
    "reading": "Reading a large study",
    "serve": "The page of a large study",
    "importance": "Importance of parameters where it is known",
}

RUN_BY = {"replay_fronts": "`benchmarks/replay.py --fronts reporting`"}

IMPORTANCES = ("sum", "product", "both", "bent")
TARGETS: Mapping[str, str] = {
    "time_low": ">= 2.5",
    "usd_low": ">= 2.5",
    "time_low_other": ">= 4",
    "usd_low_other": ">= 4",
    "time_low_same": ">= 7",
    "usd_low_same": ">= 7",
    "prior_hv_loss_median": "<= 0.005",
    "prior_hv_loss_p10": "<= 0.03",
    "tasks_ahead_of_synetune_shipped": ">= 7",
    "tasks_ahead_of_synetune_repaired": ">= 7",
    "tasks_ahead_of_neps": ">= 7",
    "tasks_ahead_of_optuna": ">= 7",
    "us_2obj_cloud_10k": "<= 100",
    "p99_us_2obj_cloud_10k": "<= 5000",
    "us_2obj_correlated_10k": "<= 300",
    "us_2obj_front_10k": "<= 500",
    "us_2obj_cloud_100k": "<= 500",
    "us_3obj_cloud_10k": "<= 300",
    "us_3obj_correlated_10k": "<= 600",
    "speedup_vs_synetune_3k": ">= 1000",
    "study_10k_s": "<= 15",
    "study_100k_s": "<= 240",
    "study_100k_mb": "<= 2048",
    "controller_share": "<= 0.2",
    "ask_ms": "<= 1",
    "ray_wall_ratio": "<= 1.25",
    "slurm_wall_ratio": "<= 1.25",
    "synthetic243_speedup_settled": ">= 2",
    "synthetic729_speedup_settled": ">= 2",
    "mo_hv_loss_median": "<= 0.01",
    "gain_at_5": ">= 0.05",
    "gain_at_10": ">= 0.035",
    "full_gain_at_5": ">= 0.05",
    "full_gain_at_10": ">= 0.11",
    "worst_vs_no_prior": ">= 0.95",
    "moved_1_decades_vs_random": "<= 1",
    "moved_2_decades_vs_random": "<= 1",
    "moved_1_decades_away": "<= 0.5",
    "moved_2_decades_away": "<= 0.5",
    "reversed_cost_at_5": "<= 0.015",
    "reversed_cost_at_10": "<= 0.01",
    "full_reversed_cost_at_5": "<= 0",
    "full_reversed_cost_at_10": "<= 0",
    "tasks_worse_at_10": "<= 4",
    "time_low_as_it_comes": ">= 7.5",
    "cnn60000_as_it_comes": ">= 6",
    "rnn60000_as_it_comes": ">= 5",
    "ahead_partial_optuna": ">= 9",
    "ahead_partial_neps": ">= 9",
    "ahead_partial_synetune": ">= 9",
    "ahead_full_optuna": ">= 8",
    "ahead_full_neps": ">= 8",
    "ahead_full_synetune": ">= 8",
    "arrive_full": ">= 0.97",
    "full_median": ">= 0.99",
    "full_p10": ">= 0.96",
    "chosen_error_p90": "<= 0.01",
    "chosen_error_p90_taskset": "<= 0.05",
    "few_trials_vs_random": ">= 1",
    "worst_vs_random": "<= 1",
    "worst_vs_optuna_tpe": "<= 1.5",
    "ahead_of_optuna_tpe": ">= 3",
    "worst_vs_optuna_8_at_a_time": "<= 2",
    "hv_20_parameters": ">= 1",
    "none_at_1_5": "<= 0",
    "none_at_1": "<= 0.2",
    "best_report_ratio": "<= 1.02",
    "full_hv_ratio_1_5": ">= 1.3",
    "exceeded": "<= 0",
    "ratio_at_1_2": ">= 1.55",
    "ratio_at_2": ">= 1.2",
    "gap_max": "<= 1e-9",
    "seer_vs_sha": ">= 1.05",
    "deadline_asha_vs_asha": ">= 1",
    "deadline_asha_tight": ">= 1.05",
    "planned_worst_cell": ">= 0.98",
    "planned_tight": ">= 1.04",
    "budget_exceeded": "<= 0",
    "within5_cheap_probe": ">= 0.55",
    "within5_8_probe": ">= 0.72",
    "plan_ms": "<= 50",
    "median_error": "<= 0.15",
    "p90_error": "<= 0.4",
    "one_node_refused": ">= 1",
    "certain_and_true_5": ">= 0.92",
    "certain_and_true_15": ">= 0.85",
    "true_and_certain_5": ">= 0.6",
    "true_and_certain_15": ">= 0.6",
    "calibration_5": "<= 0.1",
    "calibration_15": "<= 0.1",
    "wall_ratio_vs_ray": "<= 0.6",
    "wall_ratio_vs_syne_tune": "<= 0.12",
    "like_for_like_vs_ray": "<= 0.65",
    "like_for_like_vs_optuna": "<= 0.85",
    "like_for_like_overhead_per_trial_s": "<= 0.25",
    "first_value_ratio": "<= 1.15",
    "whole_ratio": "<= 0.9",
    "overhead_share_2s_epochs": "<= 0.1",
    "idle_with_work_share": "<= 0.02",
    "lost_reports": "<= 0",
    "duplicate_reports": "<= 0",
    "decided_twice": "<= 0",
    "bad_checkpoints": "<= 0",
    "orphans": "<= 0",
    "lost_events": "<= 0",
    "repeated_events": "<= 0",
    "false_locks": "<= 0",
    "ended": "<= 0",
    "seconds_to_recover": "<= 6",
    "lost": "<= 0",
    "orphaned": "<= 0",
    "hung": "<= 0",
    "wrong": "<= 0",
    "slowest_signal_s": "<= 2",
    "inputs": ">= 3000",
    "bare_errors": "<= 0",
    "hangs": "<= 0",
    "nonsense_accepted": "<= 0",
    "sense_refused": "<= 0",
    "import_s": "<= 0.3",
    "cold_status_s": "<= 10",
    "warm_status_s": "<= 1.5",
    "warm_why_s": "<= 1.5",
    "warm_vs_empty": "<= 3",
    "why_vs_empty": "<= 3",
    "constructor_ms": "<= 100",
    "first_paint_s": "<= 3",
    "event_to_page_s": "<= 1",
    "cpu_idle_share": "<= 0.01",
    "cpu_50_events_share": "<= 0.15",
    **{f"{kind}_{function}": "<= 0.05" for kind in ("error", "alone_error") for function in IMPORTANCES},
    "extra_lines_max": "<= 9",
    "sweep_dirs": "== 1",
    "trial_dirs": "== 12",
    "resumed_segments": ">= 3",
    "two_rank_segments": ">= 1",
    "solutions": ">= 1",
    "trials_after_kill": "== 12",
    "exit_code": "== 0",
}

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le, "==": operator.eq}


def main() -> None:
    """Writes the page and its plots."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    if "replay" in found:
        replay_page.figure(found["replay"]).savefig(IMAGES / "replay.png", dpi=80, metadata={"Software": None})
        speed_ups = overview_page.speed_ups(found["replay"])
        speed_ups.savefig(IMAGES / overview_page.PICTURE, dpi=110, metadata={"Software": None})
        README.write_text(readme_table.replaced(README.read_text(), found["replay"]))
    PAGE.write_text(page(found))


def page(found: Mapping[str, Document]) -> str:
    """Returns the text of the page.

    Args:
        found: name of a benchmark -> the object that it printed.
    """
    blocks = [
        "# Results",
        *overview_page.beginning(found),
        "The rest of this page has every figure of every benchmark, with the names that the scripts give to them, next "
        "to its target.",
        "## How it is made",
        "Written by `benchmarks/write_results.py` from the output of the benchmarks. `make bench` runs all of them, "
        "`make bench-NAME` runs one. The first lines of each script say what it measures and how. Targets were set "
        "before the measurements; values that miss their target are bold.",
        "The figures of `replay` other than those of `as_it_comes`, and those of `replay_choose`, `pasha`, "
        "`decisions`, `prior_demo` and `overhead`, are older than the present default searcher, the chosen ladder and "
        "the prior that learns from its own study.",
    ]
    for name, title in TITLES.items():
        blocks += [f"## {title}", f"`benchmarks/{name}.py`" + (f", run by {RUN_BY[name]}" if name in RUN_BY else "")]
        if name not in found:
            blocks.append("Not run yet.")
            continue
        blocks += [figures_table(found[name]), *DETAILS.get(name, nothing)(found[name]), provenance(found[name])]
    return "\n\n".join(block for block in blocks if block) + "\n"


def figures_table(document: Document) -> str:
    """Returns the headline numbers with their targets."""
    rows = []
    for name, value in _flat(document.get("figures", {})):
        target = TARGETS.get(name, "<= 0" if name.startswith("broken: ") else "")
        is_missed = target and not is_met(value, target)
        text = shown(value) if not isinstance(value, Sequence) else _plain(value)
        rows.append([f"`{name}`", f"**{text}**" if is_missed else text, target])
    return table(["figure", "value", "target"], rows) if rows else ""


def _flat(figures: Document, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields names and values; the names of figures in a group begin with the name of the group."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}: ")
        else:
            yield f"{prefix}{name}", value


def is_met(value: float | None, target: str) -> bool:
    """Return whether a figure meets its target."""
    sign, _, bound = target.partition(" ")
    return value is not None and _COMPARISONS[sign](value, float(bound))


def provenance(document: Document) -> str:
    """Returns the source of the numbers."""
    told = [
        f"{key}: {_plain(document[key])}"
        for key in ("date", "machine", "versions", "seeds", "settings")
        if document.get(key) not in (None, [], {}, "")
    ]
    settings = document.get("settings", {})
    for key in ("source", "licence"):
        value = document.get(key) or (settings.get(key) if isinstance(settings, Mapping) else None)
        told += [f"{key}: {value}"] if value else []
    told = [line for line in told if len(line) < 400]
    return "Measured with " + "; ".join(told) + "." if told else ""


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_plain, value))
    return str(value)


def nothing(document: Document) -> list[str]:
    """Returns no details."""
    return []


DETAILS: Mapping[str, Callable[[Document], list[str]]] = {
    "replay": replay_page.details,
    "replay_fronts": replay_page.fronts_details,
    "replay_choose": replay_page.choose_details,
    "searchers": searchers_page.details,
    "pasha": rules_page.pasha_details,
    "transfer": rules_page.transfer_details,
    "decisions": rules_page.decisions_details,
    "scaling": rules_page.scaling_details,
    "foreign_libraries": surroundings_page.library_details,
    "gpu_check": surroundings_page.gpu_details,
}


if __name__ == "__main__":
    main()
