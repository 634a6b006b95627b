"""`custom_search_space`: a user's function `(config, trial)` that suggests further parameters, as for Optuna.

A study has one space for all its trials. So the function is called before the sweep, and its suggestions become
overrides. It is called with several values of all parameters. A range that depends on them is refused, and so is a
parameter that is suggested for some options only: a tag in `params` says that (`search`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from hydra.core.override_parser.types import Override
from hydra.utils import get_method

from lightning_hwtune.apps.hydra.search import Search, quoted, read_search
from lightning_hwtune.core.parameters import Float, Parameter
from lightning_hwtune.errors import ArgumentError, HwTuneError

__all__ = ["custom_overrides"]

_KEY = "hydra.sweeper.custom_search_space"
_SHARES = (0.0, 0.5, 1.0)  # fractions of each parameter's range
_MAX_LEVELS = 100  # with more values, it is a range of numbers and not a list of cases


def custom_overrides(path: str | None, config: Any, search: Search) -> list[str]:
    """Returns the function's suggestions, as overrides of the command line.

    Args:
        path: import path of the function; None if there is none.
        config: the configuration composed for the multirun.
        search: the other searched parameters.

    Raises:
        ArgumentError: the function does not exist, fails, or makes different suggestions for different trials.
    """
    if path is None:
        return []
    try:
        asked = _ask(get_method(path), config, search)
    except HwTuneError:
        raise
    except Exception as error:
        reason = f"({type(error).__name__}: {str(error).partition(chr(10))[0]})"
        wanted = "a function (config, trial) that calls trial.suggest_..."
        raise ArgumentError(_KEY, path, wanted, hint=reason) from error
    first = asked[0]
    for other in asked[1:]:
        if other != first:
            hint = "A study has one search space: suggest the same ranges for all trials, for any trial.params. "
            hint += "A parameter that exists for some options only is written as an override, "
            hint += "'momentum=tag(\"optimizer=sgd\", interval(0, 1))'."
            different = ", ".join(sorted(set(first) ^ set(other)))
            raise ArgumentError(_KEY, path, f"the same suggestions each time; these differ: {different}", hint=hint)
    return first


def _ask(function: Any, config: Any, search: Search) -> list[list[str]]:
    """Returns the function's suggestions for several fractions of all ranges, and for each option of each parameter."""

    def suggested(share: float, given: Mapping[str, Any]) -> list[str]:
        trial = _Suggestions(search, share, given)
        function(config, trial)
        return trial.overrides

    asked = [suggested(share, {}) for share in _SHARES]
    of_function = read_search({}, asked[0])
    for known in (search, of_function):
        for name, parameter in known.parameters.items():
            asked += [suggested(0.5, {known.keys[name].text: level}) for level in _levels(parameter)]
    return asked


def _levels(parameter: Parameter) -> Sequence[Any]:
    """Returns the values of a parameter between which code may distinguish; empty if it has too many values."""
    is_list = parameter.n_values is not None and parameter.n_values <= _MAX_LEVELS
    return parameter.levels() if is_list and not isinstance(parameter, Float) else ()


@final
class _Suggestions:
    """Replaces Optuna's trial: records each suggestion as an override.

    Attributes:
        params: current values, by the keys as they are written: the value in `given`, otherwise the one at the fraction
            `share` of the range.
        overrides: the suggestions, in order.
    """

    def __init__(self, search: Search, share: float, given: Mapping[str, Any]) -> None:
        self._share, self._given = share, given
        self.params: dict[str, Any] = {}
        for name, parameter in search.parameters.items():
            self._give(search.keys[name].text, parameter)
        self.overrides: list[str] = []

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Returns a value from a range."""
        if step is not None:
            n_steps = int((high - low) / step + 1e-9)
            return float(self.suggest_categorical(name, [low + index * step for index in range(n_steps + 1)]))
        return float(self._suggest(name, _tagged(f"interval({float(low)!r},{float(high)!r})", log)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Returns an integer from a range that includes its end."""
        form = f"range({low},{high + 1},{step})" if step > 1 else f"int(interval({low},{high}))"
        return int(self._suggest(name, _tagged(form, log)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Returns one element of a list."""
        texts = [_text(choice) for choice in choices]
        return self._suggest(name, ",".join(texts) if len(texts) > 1 else f"choice({','.join(texts)})")

    def _suggest(self, name: str, form: str) -> Any:
        text = f"{name}={form}"
        (parameter,) = read_search({}, [text]).parameters.values()
        if text not in self.overrides:
            self.overrides.append(text)
        return self._give(name, parameter)

    def _give(self, name: str, parameter: Parameter) -> Any:
        return self.params.setdefault(name, self._given.get(name, parameter.quantile(self._share)))


def _tagged(form: str, log: bool) -> str:
    return f"tag(log, {form})" if log else form


def _text(choice: Any) -> str:
    return quoted(choice) if isinstance(choice, str) else Override._get_value_element_as_str(choice)
