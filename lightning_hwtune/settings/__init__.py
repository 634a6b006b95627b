"""A study as data: study files, overrides and the Hydra node, read with the table of forms."""

from lightning_hwtune.forms import parse_duration
from lightning_hwtune.settings.overrides import parse_overrides
from lightning_hwtune.settings.plain_data import plain_data
from lightning_hwtune.settings.study_settings import StudySettings

__all__ = ["StudySettings", "parse_duration", "parse_overrides", "plain_data"]
