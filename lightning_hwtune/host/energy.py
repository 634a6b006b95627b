"""Energy that this process uses: the counters of CPUs (RAPL, by Linux's powercap) and of NVIDIA GPUs (NVML).

RAPL counts the energy of a processor package and of its memory, whatever uses them. A process is attributed its share
of the CPU time of the host, as Scaphandre and PowerJoular do. A counter begins again at 0 after some hundred
kilojoules, so it must be read every few minutes. NVML counts the energy of a whole GPU since its driver was loaded.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, final

from lightning_hwtune.errors import ArgumentError, MissingDependencyError
from lightning_hwtune.host.control_groups import text_of

__all__ = ["Counter", "GpuCounter", "RaplCounter", "check_gpu_counters", "gpu_counter", "rapl_counter"]

_POWERCAP = Path("sys/class/powercap")
_ENERGY, _RANGE = "energy_uj", "max_energy_range_uj"
_TRUSTED = ("package", "dram")  # other zones are parts of a package, or the whole platform, which has the packages
_MICRO, _MILLI = 1e-6, 1e-3


class Counter(Protocol):
    """Counts joules. Only differences between two readings mean something."""

    def joules(self) -> float:
        """Returns the count."""
        ...


@final
@dataclass(slots=True)
class _Zone:
    """One RAPL zone; `range_uj` is where its counter begins again at 0."""

    path: Path
    range_uj: int
    last_uj: int = 0

    def advance_uj(self) -> int:
        """Returns the microjoules since the last call."""
        now_uj = _number(self.path / _ENERGY)
        if now_uj is None:  # taken away while the process ran
            return 0
        used_uj = now_uj - self.last_uj
        self.last_uj = now_uj
        return used_uj if used_uj >= 0 else used_uj + self.range_uj


@final
@dataclass(slots=True)
class RaplCounter:
    """Counts the energy of all processor packages and their memory, multiplied by a share of the CPU time.

    Attributes:
        zones: the counters.
        cpu_s: the CPU seconds of this process so far. busy_s: those of the whole host; None if it does not show them.
    """

    zones: list[_Zone]
    cpu_s: Callable[[], float]
    busy_s: Callable[[], float | None]
    _total_j: float = 0.0
    _last: tuple[float, float | None] = field(init=False)

    def __post_init__(self) -> None:
        for zone in self.zones:
            zone.advance_uj()
        self._last = self.cpu_s(), self.busy_s()

    def joules(self) -> float:
        """Returns the joules of this process."""
        (own_before, busy_before), (own, busy) = self._last, (self.cpu_s(), self.busy_s())
        share = 1.0
        if busy is not None and busy_before is not None and busy > busy_before:
            share = min(max((own - own_before) / (busy - busy_before), 0.0), 1.0)
        elif busy is not None:
            return self._total_j  # no time has passed by the clock of the host: count later
        self._last = own, busy
        self._total_j += share * _MICRO * sum(zone.advance_uj() for zone in self.zones)
        return self._total_j


@final
@dataclass(frozen=True, slots=True)
class GpuCounter:
    """Counts the energy of one GPU."""

    nvml: Any
    handle: Any

    def joules(self) -> float:
        """Returns the joules since the driver was loaded."""
        return float(self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle)) * _MILLI


def rapl_counter(root: Path = Path("/")) -> RaplCounter:
    """Returns a counter of the energy that this process uses on the CPUs.

    Args:
        root: the root of the file system, below which Linux shows its counters.

    Raises:
        ArgumentError: there is none, or it may not be read; the message says what was looked for and what to do.
    """
    found = [path for path in sorted((root / _POWERCAP).glob("*-rapl*")) if _name(path).startswith(_TRUSTED)]
    packages = [path for path in found if _name(path).startswith("package")]
    if not packages:
        there = "has no zone `package-0`" if (root / _POWERCAP).is_dir() else "does not exist"
        hint = (
            f"Looked for the RAPL counters of the processor: {root / _POWERCAP} {there}. Virtual machines and "
            "containers usually hide them. Use DeviceSeconds() or Cost(), or train on a machine that shows them."
        )
        raise ArgumentError("objectives", "Energy()", "only on a machine with an energy meter", hint=hint)
    closed = [path / _ENERGY for path in packages if _number(path / _ENERGY) is None]
    if closed:
        hint = (
            f"{closed[0]} cannot be read: by default only root may. Allow it: "
            f"`sudo chmod a+r {root / _POWERCAP}/*/{_ENERGY}` (until the next boot)."
        )
        raise ArgumentError("objectives", "Energy()", "only with an energy meter that this user may read", hint=hint)
    zones = [_Zone(path, _number(path / _RANGE) or 0) for path in found if _number(path / _ENERGY) is not None]
    return RaplCounter(zones, _own_cpu_s, lambda: _busy_s(root))


def gpu_counter(name: str) -> GpuCounter:
    """Returns the counter of a GPU.

    Args:
        name: its number in the order of NVML, or its UUID, such as "GPU-8a3f...".

    Raises:
        ArgumentError: it has none, or NVML cannot be used.
        MissingDependencyError: the package for NVML is not installed.
    """
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError as error:
        text = "Energy() on GPUs needs NVML: pip install 'lightning_hwtune[energy]'"
        raise MissingDependencyError(text) from error
    try:
        nvml.nvmlInit()
        by_number = name.isdigit()
        handle = nvml.nvmlDeviceGetHandleByIndex(int(name)) if by_number else nvml.nvmlDeviceGetHandleByUUID(name)
        counter = GpuCounter(nvml, handle)
        counter.joules()
    except nvml.NVMLError as error:
        hint = (
            f"Looked for the energy counter of GPU {name} with NVML, which answers {str(error)!r}. GPUs count their "
            "energy from the generation Volta on; a part of a GPU (MIG) does not. Use DeviceSeconds() or Cost()."
        )
        raise ArgumentError("objectives", "Energy()", "only on GPUs with an energy meter", hint=hint) from error
    return counter


def check_gpu_counters(names: list[str]) -> None:
    """Refuses GPUs that do not count their energy.

    Raises:
        ArgumentError, MissingDependencyError: as `gpu_counter`.
    """
    for name in names:
        gpu_counter(name)


def _name(zone: Path) -> str:
    return text_of(zone / "name")


def _number(path: Path) -> int | None:
    text = text_of(path)
    return int(text) if text.isdigit() else None


def _own_cpu_s() -> float:
    """Returns the CPU seconds of this process and of its children that have ended, such as those of data loaders."""
    return sum(os.times()[:4])


def _busy_s(root: Path) -> float | None:
    """Returns the CPU seconds of all processes of the host: user, nice, system, interrupts, and stolen ones not."""
    for line in text_of(root / "proc/stat").splitlines():
        words = line.split()
        if words and words[0] == "cpu" and all(word.isdigit() for word in words[1:8]) and len(words) >= 8:
            user, nice, system, _, _, irq, softirq = map(int, words[1:8])
            return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    return None
