"""The kinds of parameter: ranges, lists of options and of instance types, device counts, and how a Trainer trains.

A parameter maps a share in [0, 1] to one of its values (`quantile`; a uniform share gives the parameter's
distribution). It also maps a value to its coordinates in the unit cube and back (`encode`, `decode`). Values are always
plain Python objects, so that a sample can be written as JSON and loaded by a restricted unpickler.
"""

from __future__ import annotations

from lightning_hwtune.core.parameters.choices import ALWAYS_DEVICES, Choice, NumDevices, Option
from lightning_hwtune.core.parameters.form import Parameter, parameter_from_dict, stored_form
from lightning_hwtune.core.parameters.instances import InstanceChoice
from lightning_hwtune.core.parameters.ranges import Float, Int
from lightning_hwtune.core.parameters.trainer_choices import Accumulation, Precision, Strategy, TrainerChoice

__all__ = [
    "ALWAYS_DEVICES",
    "Accumulation",
    "Choice",
    "Float",
    "InstanceChoice",
    "Int",
    "NumDevices",
    "Option",
    "Parameter",
    "Precision",
    "Strategy",
    "TrainerChoice",
    "parameter_from_dict",
    "stored_form",
]
