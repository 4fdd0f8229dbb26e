"""How far a run has come, from the lines of its log that look like a progress bar.

A log has other percentages too: memory in use, a discount, a quality. So a line counts only in one of these forms:

     42%|████▏     | 21/50 [00:01<00:02]      tqdm's bar, with or without a label
    [=====>     ] 42%      42% [####----]     other bars
    Progress: 42%          42% complete       a word that says what it is a share of
    42%                                       nothing else in the line
"""

import re
from collections.abc import Iterator

from shared.json_value import Json

MAX_READ = 4000  # characters at the log's end
MAX_LINE = 400  # characters that are matched; some forms go back and forth in a line
BLANKS = re.compile(r"\s{3,}")  # two in a row may be an empty bar
PERCENT = r"(?P<percent>100|\d{1,2})(?:\.\d{1,6})?\s?%"
BAR = r"[\[(|][=#>*.\-_ \u2500-\u259f]{2,200}[\])|]|[\u2500-\u259f]{2,200}"
WORDS = r"progress|complete[d]?|done|finished|rendering|rendered|generating|sampling|denoising|processing|encoding|step"
FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"(?:[^|%]{{0,80}}[\s:])?{PERCENT}\|[^|]{{0,200}}\|.*",
        rf"(?:[^|%\[(]{{0,80}}\s)?(?:{BAR})\s*{PERCENT}.*",
        rf"(?:[^|%]{{0,80}}\s)?{PERCENT}\s*(?:{BAR}).*",
        rf"(?:[^%]{{0,60}}\b)?(?:{WORDS})\s*[:=]?\s*\(?{PERCENT}\W*",
        rf"(?:[^%]{{0,60}}\s)?{PERCENT}\s*(?:complete[d]?|done|finished)\W*",
        PERCENT,
    )
)
# Bars of what comes before the run: their end is not the run's, and progress does not fall.
BEFORE = re.compile(r"\W*(?:(?:down|up)?load|fetch|extract|pull|unpack|install)", re.IGNORECASE)


def progress_of(logs: Json) -> int | None:
    """Returns the percentage in the last line that looks like a progress bar, at most 99; None without one."""
    if not isinstance(logs, str):
        return None
    for line in lines_from_end(logs):
        found = _percent_of(line)
        if found is not None:
            return min(99, found)
    return None


def lines_from_end(logs: str) -> Iterator[str]:
    """Yields the last lines, the last one first, each cut to MAX_LINE and with at most two blanks in a row."""
    for line in reversed(re.split(r"[\r\n]+", logs[-MAX_READ:])):
        yield BLANKS.sub("  ", line.strip())[:MAX_LINE]


def _percent_of(line: str) -> int | None:
    if BEFORE.match(line):
        return None
    found = next((match for form in FORMS if (match := form.fullmatch(line))), None)
    return int(found["percent"]) if found else None
