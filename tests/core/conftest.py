from __future__ import annotations

from hypothesis import settings

# A busy machine is no failure of the code.
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")
