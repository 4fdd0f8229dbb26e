"""What people read of a notice: plain lines, which each receiver marks up in its own way.

What a caller may have made up is in a change's ``names`` alone. A receiver makes it harmless: see quoted().
"""

from collections.abc import Callable, Sequence

from shared.alerts.catalogue import runbook_of, title_of
from shared.alerts.standing import Change, ChangeWord, Notice
from shared.config.settings import Settings
from shared.frozen import dataclass

MAX_NAMES = 5
MAX_CHANGES = 12  # of a notice, that a text shows; a webhook has all
LEADS: dict[ChangeWord, str] = {
    "fired": "Fired", "more": "More of it", "reminder": "Still so", "recovered": "Recovered",
}  # fmt: skip
ORDER: tuple[ChangeWord, ...] = ("fired", "more", "reminder", "recovered")


@dataclass(frozen=True)
class Told:
    """One change for people: its headline, its text with the names, and where to read what to do."""

    lead: str
    text: str
    link: str


def headline(notice: Notice, settings: Settings) -> str:
    """Returns one line that says of which deployment the notice is, and how much has changed."""
    words = [change["word"] for change in notice["changes"]]
    fired, recovered = words.count("fired"), words.count("recovered")
    parts = [f"{fired} fired" if fired else "", f"{recovered} recovered" if recovered else ""]
    others = len(words) - fired - recovered
    parts.append(f"{others} still so" if others else "")
    return f"Sluice, {deployment(settings)}: {', '.join(filter(None, parts))}"


def deployment(settings: Settings) -> str:
    """Returns which deployment this is: its address, or the prefix of its keys."""
    return settings.public_base_url or settings.prefix


def told(notice: Notice, settings: Settings, quoted: Callable[[str], str]) -> list[Told]:
    """Returns the changes for people, the gravest first; ``quoted`` makes a name harmless in the receiver's text."""
    ranked = sorted(notice["changes"], key=lambda c: (ORDER.index(c["word"]), c["severity"] != "critical"))
    shown = [_told(change, settings, quoted) for change in ranked[:MAX_CHANGES]]
    if left := len(ranked) - len(shown):
        shown.append(Told("", f"{left} more changes.", ""))
    return shown


def _told(change: Change, settings: Settings, quoted: Callable[[str], str]) -> Told:
    lead = f"{LEADS[change['word']]}: {title_of(change['name'])}"
    if change["word"] == "recovered":
        return Told(lead, f"It was: {change['text']}", runbook_of(change["name"], settings))
    return Told(lead, change["text"] + named(change["names"], quoted), runbook_of(change["name"], settings))


def named(names: Sequence[str], quoted: Callable[[str], str]) -> str:
    """Returns the names as the end of a text; '' without any."""
    if not names:
        return ""
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return " " + ", ".join(quoted(name) for name in names[:MAX_NAMES]) + more


def cut(text: str, most: int) -> str:
    """Returns the text, or its beginning with a mark that something is missing."""
    return text if len(text) <= most else text[: most - 2].rstrip("\\`") + " …"


def in_code(name: str) -> str:
    """Returns a name between backticks, where Slack and Discord read no mark-up, no mention and no link."""
    return "`" + name.replace("`", "'") + "`"
