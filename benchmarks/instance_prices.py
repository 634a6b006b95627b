"""Writes the package's table of instance types from price lists of others; prints one JSON object.

The lists are in `prices/` of the folder HWTUNE_DATA (`../shared/data`): those of the Karpenter providers for AWS, Azure
and GCP, and the list of SageMaker instances in Syne Tune; all have the licence Apache-2.0. The selection is types with
accelerators on which models are trained, in one region per provider, and a few types with CPUs only. Cells that a list
does not have stay empty, with two exceptions: the CPUs of GCP types whose name ends with that number, and the CPUs and
the memory of the AWS types p2 and p3, which the list of SageMaker has for the same machines.

    python benchmarks/instance_prices.py [--out FILE]
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from lightning_hwtune.core.hardware.catalogue import COLUMNS, Catalogue
from lightning_hwtune.core.hardware.catalogue_text import instances_of_csv

TABLE = Path(__file__).parents[1] / "lightning_hwtune/core/hardware/instances.csv"
_ACCELERATORS = {"rtx-pro-server-6000": "RTX-PRO-6000"}
_AWS_CPU = r"(c5|c6i|c7i|m5|m6i)\.(xlarge|2xlarge|4xlarge|12xlarge|24xlarge)"
_AWS_LEFT_OUT = r".*\.metal|g5g\..*|gr6\..*"
_GCP_CPU = r"(n2-standard|c3-highcpu)-(4|8|16|22|32|44|64)"
_GCP_COUNT = r"(?:g2-standard|n2-standard|c3-highcpu)-(\d+)"
_AWS = {"provider": "aws", "source": "Karpenter provider for AWS", "date": "2026-07-20"}
_AZURE = {"provider": "azure", "source": "Karpenter provider for Azure", "date": "2026-06-18"}
_GCP = {"provider": "gcp", "source": "Karpenter provider for GCP"}
_SAGEMAKER = {"provider": "sagemaker", "source": "instance list of Syne Tune", "date": "2022"}


def main() -> None:
    """Writes the table and prints how many types it has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=TABLE)
    out = parser.parse_args().out
    folder = Path(os.environ.get("HWTUNE_DATA", Path(__file__).parents[2] / "shared/data")) / "prices"
    rows = [*_aws(folder), *_gcp(folder), *_azure(folder), *_sagemaker(folder)]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    found = Catalogue(instances_of_csv(text.getvalue(), str(out)))
    out.write_text(text.getvalue(), encoding="utf-8")
    counts = Counter(item.provider for item in found)
    print(json.dumps({"name": "instance_prices", "figures": {"n_types": len(found), **counts}}))


def _aws(folder: Path) -> Iterator[dict[str, Any]]:
    same = {row["instance"].removeprefix("ml."): row for row in _rows(pd.read_csv(folder / _SAGEMAKER_FILE))}
    for row in _rows(pd.read_csv(folder / "aws_gpu_us-east-1.csv")):
        name = row["instance_type"]
        if re.fullmatch(_AWS_LEFT_OUT, name):
            continue
        vcpus, memory = _number(row["vcpu"]), _gib(row["memory_mib"])
        if vcpus == "" and name in same:
            vcpus, memory = same[name]["vCPU"], _of_text(same[name]["Memory"])
        accelerator = _accelerator(row["gpu_name"], row["gpu_memory_mib"])
        yield _row(row, name, _AWS, accelerator, _number(row["gpu_count"]), vcpus, memory)
    for row in _rows(pd.read_parquet(folder / "aws_ondemand.parquet")):
        if re.fullmatch(_AWS_CPU, row["instance_type"]):
            yield _row(row, row["instance_type"], _AWS, "cpu", 0, _number(row["vcpu"]), _gib(row["memory_mib"]))


def _gcp(folder: Path) -> Iterator[dict[str, Any]]:
    table = pd.read_parquet(folder / "gcp_prices.parquet")
    table = table[table["region"] == "us-central1"]
    spot = {row["instance_type"]: row["usd_per_hour"] for row in _rows(table[table["kind"] == "spot"])}
    for row in _rows(table[table["kind"] == "on_demand"]):
        name, has_gpus = row["instance_type"], isinstance(row["gpu_name"], str)
        counted = re.fullmatch(_GCP_COUNT, name)
        vcpus: object = int(counted[1]) if counted else ""
        if has_gpus or re.fullmatch(_GCP_CPU, name):
            count = _number(row["gpu_count"]) if has_gpus else 0
            found = _row(row, name, _GCP, row["gpu_name"] if has_gpus else "cpu", count, vcpus, "")
            yield {**found, "usd_per_hour_spot": _price(spot[name]) if name in spot else ""}


def _azure(folder: Path) -> Iterator[dict[str, Any]]:
    table = pd.read_csv(folder / "azure_gpu_selected.csv")
    for row in _rows(table[table["region"] == "eastus"]):
        yield _row(row, row["instance_type"], _AZURE, row["gpu_name"], _number(row["gpu_count"]), "", "")


_SAGEMAKER_FILE = "sagemaker_synetune_2022.csv"


def _sagemaker(folder: Path) -> Iterator[dict[str, Any]]:
    aws = {row["instance_type"]: row for row in _rows(pd.read_csv(folder / "aws_gpu_us-east-1.csv"))}
    for row in _rows(pd.read_csv(folder / _SAGEMAKER_FILE)):
        name, accelerator = row["instance"], "cpu"
        if row["GPU"]:
            machine = aws[name.removeprefix("ml.")]
            accelerator = _accelerator(machine["gpu_name"], machine["gpu_memory_mib"])
        priced = {"usd_per_hour": row["price"]}
        yield _row(priced, name, _SAGEMAKER, accelerator, row["GPU"], row["vCPU"], _of_text(row["Memory"]))


def _row(
    row: dict[str, Any], name: str, provider: dict[str, str], accelerator: str, devices: object, vcpus: object,
    memory_gib: object,
) -> dict[str, Any]:  # fmt: skip
    return {
        "name": name,
        "usd_per_hour": _price(row["usd_per_hour"]),
        "devices": devices,
        "accelerator": accelerator,
        "memory_gib": memory_gib,
        "vcpus": vcpus,
        "region": row.get("region", ""),
        "usd_per_hour_spot": "",
        **provider,
    }


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _accelerator(name: str, memory_mib: float) -> str:
    if name == "a100":
        return f"A100-{memory_mib / 1024:.0f}GB"
    return _ACCELERATORS.get(name, name.upper())


def _number(value: float) -> object:
    return "" if pd.isna(value) else int(value)


def _gib(mib: float) -> object:
    return "" if pd.isna(mib) else f"{mib / 1024:g}"


def _of_text(text: str) -> str:
    return text.removesuffix(" GiB")


def _price(usd: float) -> str:
    return f"{usd:.6f}".rstrip("0").rstrip(".")


if __name__ == "__main__":
    main()
