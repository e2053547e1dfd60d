"""The settings of the demo provider."""

from typing import Annotated, ClassVar

from streaming.options import Setting
from streaming.providers.base import ProviderOptions


class DemoOptions(ProviderOptions, frozen=True):
    """The common options, and those of the demo model."""

    default_model: ClassVar[str] = "demo-1"

    demo_delay_ms: Annotated[
        float,
        Setting(
            "Pause between two words of the demo model.", "milliseconds", minimum=0
        ),
    ] = 20.0
