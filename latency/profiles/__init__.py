"""Bundled device profiles, and from a text a person types to the profile it names."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path

from ...errors import InvalidProfile
from ..profile.device_profile import DeviceProfile, from_json, load_profile

SUFFIX = ".json"


def bundled() -> tuple[str, ...]:
    """Names of the profiles that come with the package."""
    folder = resources.files(__name__)
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)))


def open_profile(text: str) -> DeviceProfile:
    """A bundled profile by name, or one from a file.

    Raises:
        InvalidProfile: neither; or the file is damaged, then the message names the field.
    """
    if text in bundled():
        content = resources.files(__name__).joinpath(text + SUFFIX).read_bytes()
        return from_json(content, origin=f"the bundled profile {text!r}")
    if not Path(text).is_file():
        near = difflib.get_close_matches(text, bundled(), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InvalidProfile(
            f"there is no profile {text!r}; {hint}expected a file made by `mnasfpn profile` and "
            f"`mnasfpn fit`, or one of the bundled profiles: {', '.join(bundled())}"
        )
    return load_profile(text)
