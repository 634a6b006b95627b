"""One schema behind the Python keywords, study files and, later, the Hydra node."""

from lightning_hwtune.settings.duration import parse_duration
from lightning_hwtune.settings.overrides import parse_overrides
from lightning_hwtune.settings.study_settings import StudySettings

__all__ = ["StudySettings", "parse_duration", "parse_overrides"]
