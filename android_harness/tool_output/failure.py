"""Why a benchmark tool failed, in its own words."""

from __future__ import annotations

import re

_ERROR = re.compile(
    r"(?:.*?\b(?:tflite|litert)\s*:\s)?(?:ERROR|FATAL): (?:\[\S+:\d+\] )?(?P<said>.*\S)"
)
_FAREWELL = re.compile(r"Benchmarking failed\.?")
_NODE = re.compile(r"Node number \d+ \(.*\) failed to (?:prepare|invoke)\.?")
#: What could not be done because of it: the runtime's next steps, and the tool's.
_STEP = re.compile(r"[Ff]ailed to .*|Restored original execution plan .*")


def reason_of(stdout: str, stderr: str = "") -> str:
    """Why a tool failed: the ERROR line with the reason, and the operator where one is named.

    The last ERROR line is always ``Benchmarking failed.``; above it stand the steps that could not
    be done, and above them the reason. ERROR lines of good runs (of an accelerator that is not
    there) come earlier still. Where there are only steps, all of them; without an ERROR line the
    last line, as of a shell or a linker.

    Args:
        stdout, stderr: as printed; either may hold both.

    >>> reason_of("", "ERROR: Division by 0\\nERROR: Node number 0 (FLOOR_MOD) failed to invoke.\\n"
    ... "ERROR: [compiled_model.cc:164] Failed to invoke\\nERROR: Benchmarking failed.\\n")
    'Division by 0; Node number 0 (FLOOR_MOD) failed to invoke.'
    """
    lines = [line.strip() for text in (stdout, stderr) for line in text.splitlines()]
    errors = [found["said"] for line in lines if (found := _ERROR.fullmatch(line))]
    telling = [said for said in errors if not _FAREWELL.fullmatch(said)]
    reasons = [
        place
        for place, said in enumerate(telling)
        if not (_STEP.fullmatch(said) or _NODE.fullmatch(said))
    ]
    if reasons:
        reason, *rest = telling[reasons[-1] :]
        telling = [reason, *(said for said in rest if _NODE.fullmatch(said))]
    last_words = next((line for line in reversed(lines) if line), "nothing")
    return "; ".join(telling) or last_words
