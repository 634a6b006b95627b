"""The samplers of Optuna: found by name, and made from keyword arguments that are plain data."""

from __future__ import annotations

import difflib
import functools
import inspect
import re
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from lightning_hwtune.errors import ArgumentError, MissingDependencyError, nearest
from lightning_hwtune.plugins import Registry

__all__ = ["check_options", "made", "missing_library", "sampler_class", "writes"]

_MAX_SEED = 2**32  # of numpy's older generators, which Optuna uses
_ABSTRACT = ("BaseSampler", "BaseGASampler")
_OWNED = ("seed", "constraints_func")
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

_SEQUENCES = ("QMCSampler",)
"""Samplers whose seed chooses a sequence, and which must therefore have the same seed at every draw."""

_WRITE_NOTHING = ("RandomSampler", "TPESampler", "GPSampler", "BruteForceSampler")
"""Samplers that learn from the trials alone, whatever they were asked before."""

_INSTEAD: Mapping[str, str] = {
    "GridSampler": "Use Grid(), and list the values with Choice.",
    "PartialFixedSampler": "It needs another sampler as an object. Fix a parameter with Choice([value]) instead.",
}


def sampler_class(name: str) -> type[BaseSampler]:
    """Returns the class of a sampler, from its name in `optuna.samplers` or its import path.

    Raises:
        ArgumentError: there is no such sampler, or it cannot be used here.
    """
    names = [key for key in optuna.samplers.__all__ if key.endswith("Sampler") and key not in _ABSTRACT]
    usable = [key for key in names if key not in _INSTEAD]
    if name in _INSTEAD:
        raise ArgumentError("OptunaSampler.sampler", name, f"one of {', '.join(usable)}", hint=_INSTEAD[name])
    if name in usable:
        found: type[BaseSampler] = getattr(optuna.samplers, name)
        return found
    if ":" in name or "." in name:
        registry = Registry[BaseSampler]("sampler", "hwtune.optuna_samplers", BaseSampler, {})
        return registry.find(name, "OptunaSampler.sampler")
    stems = {_stem(key): key for key in usable}
    close = difflib.get_close_matches(_stem(name), stems, n=1)
    near = f"; did you mean {stems[close[0]]!r}?" if close else ""
    allowed = f"one of {', '.join(usable)}, or an import path such as my_module:MySampler{near}"
    raise ArgumentError("OptunaSampler.sampler", name, allowed)


def _stem(name: str) -> str:
    """Returns the name without its ending, which all have: "cmaes" for "CmaEs", "CMAESSampler" and "CmaEsSample"."""
    return re.sub(r"s[amplert]*$", "", name.lower()) if "sam" in name.lower() else name.lower()


def writes(cls: type[BaseSampler]) -> bool:
    """Returns whether a sampler may write into the study when it is asked."""
    return not (cls.__module__.startswith("optuna.") and cls.__name__ in _WRITE_NOTHING)


def check_options(cls: type[BaseSampler], options: Mapping[str, Any]) -> None:
    """Refuses arguments that the sampler does not have, or that the study sets.

    Raises:
        ArgumentError: one of these is the case.
    """
    parameters = _parameters(cls)
    is_open = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters.values())
    known = [name for name, item in parameters.items() if item.kind not in _VARIADIC and name not in _OWNED]
    for name in options:
        if name in _OWNED:
            allowed = f"arguments without {name!r}, which the study sets"
            raise ArgumentError("OptunaSampler.options", dict(options), allowed, hint="Leave it out.")
        if name not in known and not is_open:
            allowed = f"the arguments of {cls.__name__}: {', '.join(known) or 'none'}{nearest(name, known)}"
            raise ArgumentError("OptunaSampler.options", dict(options), allowed)


def made(
    cls: type[BaseSampler], options: Mapping[str, Any], seed: int, study_seed: int = 0, *, is_constrained: bool = False
) -> BaseSampler:
    """Returns a sampler with these arguments, and otherwise with defaults that suit a study of this package.

    Args:
        seed: for the random numbers of one draw. study_seed: for samplers that draw a sequence.

    Raises:
        ArgumentError: the sampler refuses the arguments; the message has the reason.
    """
    known = _parameters(cls)
    given: dict[str, Any] = dict(options)
    if "seed" in known:
        given["seed"] = (study_seed if cls.__name__ in _SEQUENCES else seed) % _MAX_SEED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # many of Optuna's classes and arguments are experimental or deprecated
        if "independent_sampler" in known:
            given.setdefault("independent_sampler", optuna.samplers.RandomSampler(seed=seed % _MAX_SEED))
        for name, value in (("constant_liar", True), ("warn_independent_sampling", False)):
            if name in known:
                given.setdefault(name, value)
        if is_constrained and "constraints_func" in known and not hasattr(FrozenTrial, "constraints"):
            given["constraints_func"] = _constraints  # in Optuna 4, samplers use constraints only with a function
        try:
            return cls(**given)
        except ImportError as error:
            raise missing_library(cls, error) from error
        except Exception as error:  # whatever the sampler's constructor raises
            raise ArgumentError(
                "OptunaSampler.options",
                dict(options),
                f"arguments that {cls.__name__} accepts",
                hint=f"It raises {type(error).__name__}: {error}",
            ) from error


def missing_library(cls: type[BaseSampler], error: ImportError) -> MissingDependencyError:
    """Returns the error for a sampler whose own library is missing."""
    library = (error.name or "").partition(".")[0]
    install = f": pip install {library}" if library else ""
    return MissingDependencyError(f"{cls.__name__} needs a library that is not installed{install} ({error})")


@functools.cache
def _parameters(cls: type[BaseSampler]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(cls).parameters


def _constraints(trial: FrozenTrial) -> Any:
    return trial.system_attrs.get("constraints", ())
