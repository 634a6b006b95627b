"""The JSON schema of study files, with which editors complete keys and underline mistakes.

It is made from the same tables that read the files. A valid file matches it. Relations between values, and values of
user-defined classes, are only checked when the file is read.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from lightning_hwtune.core.constraints import Constraint
from lightning_hwtune.core.hardware.instances import FILTERS, Instance
from lightning_hwtune.core.hardware.policies import POLICY_REGISTRY
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, TrainSeconds
from lightning_hwtune.core.parameters import Accumulation, Choice, Float, Int, NumDevices, Precision, Strategy
from lightning_hwtune.core.parameters.form import KINDS
from lightning_hwtune.core.schedulers import SCHEDULER_REGISTRY
from lightning_hwtune.engine.agents.ray_cluster import RayCluster
from lightning_hwtune.engine.executors import EXECUTOR_REGISTRY
from lightning_hwtune.forms import FORMS
from lightning_hwtune.forms.kinds import text
from lightning_hwtune.forms.settings import NEEDED, Setting
from lightning_hwtune.forms.study_keys import FILE_KEYS
from lightning_hwtune.plugins import Registry
from lightning_hwtune.settings.study_parts import (
    FILE_SEARCHERS,
    MEASURED,
    MEASURED_KEYS,
    METRIC_KEYS,
    option_docs,
    options,
)

__all__ = ["study_file_schema"]

_Schema = dict[str, Any]
_PARAMETERS: Mapping[str, type] = {
    "float": Float,
    "int": Int,
    "choice": Choice,
    "num_devices": NumDevices,
    **{cls.kind: cls for cls in (Strategy, Precision, Accumulation)},
}
_LISTS: Mapping[str, _Schema] = {"options": {"type": "array", "minItems": 1}}
_NUMBERS = ("low", "high", "step", "prior", "at_most", "at_least")  # also as text: YAML 1.1 reads 1e-4 as text
_IMPORT_PATH = "[.:]"  # what a name does not have
_INTERPOLATION = {"$ref": "#/definitions/interpolation"}


def study_file_schema() -> _Schema:
    """Returns the schema as plain data (JSON Schema, draft 7, which editors for YAML support)."""
    parts: dict[str, Mapping[str, Any]] = {
        "space": {"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#/definitions/parameter"}},
        "objectives": {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/objective"}},
        "constraints": {"type": "array", "items": {"$ref": "#/definitions/constraint"}},
        "scheduler": {"anyOf": [*_named(SCHEDULER_REGISTRY), {"type": "null"}]},
        "searcher": {"anyOf": _named(FILE_SEARCHERS)},
        "allocation": {"anyOf": [*_named(POLICY_REGISTRY), {"type": "null"}]},
        "executor": {"anyOf": [*_names(EXECUTOR_REGISTRY.names), _part(RayCluster, "ray")]},
        "pool": _part(Pool),
        "enqueue": {"type": "array", "items": {"type": "object"}},
    }
    properties = {key: _property(item, parts.get(key, item.form.schema)) for key, item in FILE_KEYS.items()}
    needed = [key for key, item in FILE_KEYS.items() if item.default is NEEDED]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Study file of lightning_hwtune",
        **_object(properties, needed),
        "definitions": {
            "interpolation": {"type": "string", "pattern": r"\$\{.+\}", "description": "An OmegaConf interpolation."},
            "parameter": {"anyOf": [*map(_parameter, KINDS), _INTERPOLATION]},
            "objective": {"anyOf": [{"enum": list(MEASURED)}, _metric(), _measured(), _INTERPOLATION]},
            "constraint": {"anyOf": [_part(Constraint), _INTERPOLATION]},
        },
    }


def _property(item: Setting, schema: Mapping[str, Any]) -> _Schema:
    default = list(item.default) if isinstance(item.default, tuple) else item.default
    return {
        "description": item.file_doc,
        **({} if item.default is NEEDED else {"default": default}),
        **_or_interpolation(schema),
    }


def _or_interpolation(schema: Mapping[str, Any]) -> _Schema:
    if not schema:
        return {}
    return {"anyOf": [*(schema["anyOf"] if schema.keys() == {"anyOf"} else [schema]), _INTERPOLATION]}


def _object(properties: Mapping[str, Any], needed: Iterable[str]) -> _Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(needed),
        "additionalProperties": False,
    }


def _names(names: Iterable[str]) -> list[_Schema]:
    """Returns the forms of a name: ours, that of an installed class, and an import path."""
    return [{"enum": list(names)}, {"type": "string", "pattern": _IMPORT_PATH}]


def _named(registry: Registry[Any]) -> list[_Schema]:
    """Returns the forms of a part that has a `name`: ours with their options, and those of users with any options."""
    theirs = {"anyOf": _names(name for name in registry.names if name not in registry.own)}
    others = {"type": "object", "properties": {"name": theirs}, "required": ["name"]}
    ours = [_part(cls, name) for name, cls in registry.own.items()]
    return [*_names(registry.names), *ours, others]


def _part(cls: type, name: str | None = None) -> _Schema:
    """Returns the form of a part with the options of its class."""
    docs, given = option_docs(cls), options(cls)
    properties = {key: _option(key, FORMS.get(cls.__name__, {}), docs) for key in given}
    needed = [key for key, item in given.items() if item.default is inspect.Parameter.empty]
    if name is None:
        return _object(properties, needed)
    return _object({"name": {"const": name}, **properties}, ["name", *needed])


def _option(key: str, forms: Mapping[str, Any], docs: Mapping[str, str]) -> _Schema:
    schema = _LISTS.get(key) or (forms[key].schema if key in forms else {})
    if key in _NUMBERS:
        schema = {"anyOf": [schema, {"type": "string", "pattern": r"^[-+]?[\d.]"}]}
    return {**({"description": docs[key]} if key in docs else {}), **_or_interpolation(schema)}


def _parameter(kind: str) -> _Schema:
    """Returns the form of a parameter of this kind."""
    if kind == "instance":  # its names and conditions are looked up before the parameter is made
        return _instances()
    cls, (_, needed, optional) = _PARAMETERS[kind], KINDS[kind]
    forms, docs = FORMS.get(cls.__name__, {"when": FORMS["Choice"]["when"]}), option_docs(cls)
    properties = {key: _option(key, forms, docs) for key in (*needed, *optional)}
    if kind == "num_devices":  # the constructor takes the counts one by one
        properties["counts"] = _or_interpolation({"type": "array", "minItems": 1, "items": forms["counts"].schema})
    return _object({"type": {"const": kind}, **properties}, ["type", *needed])


def _instances() -> _Schema:
    """Returns the form of a choice of instance types: a list of them, or conditions."""
    forms = {**FORMS["Catalogue.where"], "prior": text()}
    docs = option_docs(Instance) | {"options": option_docs(Instance)["instances"]}
    properties = {key: _option(key, forms, docs) for key in ("options", *FILTERS, "prior")}
    return _object({"type": {"const": "instance"}, **properties}, ["type"])


def _metric() -> _Schema:
    """Returns the form of a metric, whose `metric` is the name; further keys may be null, which is their default."""
    forms, docs = FORMS["Metric"], option_docs(Metric)
    named = {"metric": _option("name", forms, docs)}
    others = {key: _option(key, forms, docs) for key in METRIC_KEYS if key not in named}
    for key in METRIC_KEYS[2:]:
        others[key]["anyOf"].append({"type": "null"})
    return _object({**named, **others}, METRIC_KEYS[:2])


def _measured() -> _Schema:
    """Returns the form of a measured objective with its resolution, which may be null."""
    resolution = _option("resolution", FORMS["TrainSeconds"], option_docs(TrainSeconds))
    resolution["anyOf"].append({"type": "null"})
    return _object({"measured": {"enum": list(MEASURED)}, "resolution": resolution}, MEASURED_KEYS[:1])
