"""The four kinds of parameter: a range of floats, a range of integers, a list of options, a number of devices.

A parameter maps a share in [0, 1] to one of its values (`quantile`; a uniform share gives the parameter's
distribution). It also maps a value to its coordinates in the unit cube and back (`encode`, `decode`). Values are always
plain Python objects, so that a sample can be written as JSON and loaded by a restricted unpickler.
"""

from __future__ import annotations

from lightning_hwtune.core.parameters.choices import ALWAYS_DEVICES, Choice, NumDevices, Option
from lightning_hwtune.core.parameters.form import Parameter, parameter_from_dict, stored_form
from lightning_hwtune.core.parameters.ranges import Float, Int

__all__ = [
    "ALWAYS_DEVICES",
    "Choice",
    "Float",
    "Int",
    "NumDevices",
    "Option",
    "Parameter",
    "parameter_from_dict",
    "stored_form",
]
