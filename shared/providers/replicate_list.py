"""Looks for a submission's prediction in Replicate's list.

What a listed prediction shows, by Replicate's HTTP reference: id, model, version, input, created_at. The reference
lists no ``webhook``, while the types of Replicate's own JavaScript client have one. So a webhook's URL that is there
tells to which attempt the prediction belongs. One that is not there, or is null, tells nothing: the list may hide it,
and a prediction that is wrongly taken for another one's would be made and paid for again.

A prediction may be shown in other words than it was created with. An official model's version is "hidden", a
deployment is not named, and an input that was sent as a data URL may come back as a link. So "surely another one" needs
a difference that none of these can explain.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from urllib.parse import parse_qsl, urlsplit

from shared.json_value import Json, likeness
from shared.providers.base import Found, Wanted
from shared.providers.calls import PREDICTION_ID

SHOWN = ("id", "created_at", "model", "version", "input", "webhook")  # members of a prediction that tell whose it is
VERSION_ID = re.compile(r"[0-9a-f]{64}")


class Match(Enum):
    """What a listed prediction can be for a submission."""

    MARKED = "marked"
    ALIKE = "alike"
    DOUBTFUL = "doubtful"
    OTHER = "other"


class Search:
    """Judges the predictions of a list one by one, and keeps their ids only."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._found: dict[Match, list[str]] = {match: [] for match in Match}
        self._is_complete = True

    def judge(self, entry: Json) -> None:
        """Takes the next prediction of the list."""
        try:
            prediction_id, match = _judged(entry, self._wanted)
        except (ValueError, TypeError):
            self._is_complete = False
        else:
            self._found[match].append(prediction_id)

    @property
    def found(self) -> Found:
        """The predictions that may be the wanted one; not complete if one of the list cannot be read."""
        marked, alike, doubtful = (tuple(self._found[match]) for match in (Match.MARKED, Match.ALIKE, Match.DOUBTFUL))
        return Found(marked, alike, doubtful, self._is_complete)


def _judged(entry: Json, wanted: Wanted) -> tuple[str, Match]:
    """Returns the entry's id and what it can be; raises ValueError or TypeError for what is no prediction."""
    if not isinstance(entry, Mapping):
        raise TypeError("not a prediction")
    prediction_id = str(entry.get("id"))
    created_at = datetime.fromisoformat(str(entry.get("created_at")))
    if not PREDICTION_ID.fullmatch(prediction_id):
        raise ValueError("not a prediction's id")
    if not wanted.since <= created_at <= wanted.until:
        return prediction_id, Match.OTHER
    webhook = entry.get("webhook")
    if wanted.mark and isinstance(webhook, str):  # mutant: null webhook
        return prediction_id, Match.MARKED if _is_marked(webhook, wanted.mark) else Match.OTHER
    certainties = {_has_model(entry, wanted.model), _has_input(entry.get("input"), wanted.input)}
    if False in certainties:
        return prediction_id, Match.OTHER
    return prediction_id, Match.DOUBTFUL if None in certainties else Match.ALIKE


def _is_marked(webhook: str, mark: Mapping[str, str]) -> bool:
    """Whether this is the URL of the attempt's webhook. Its host may have changed with a new deployment."""
    try:
        return mark.items() <= _query_of(webhook).items()
    except ValueError:
        return False


def _query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))


def _has_model(entry: Mapping[str, Json], model: str) -> bool | None:
    """Whether the prediction is of this model; None if it does not show that."""
    owner_name, _, version = model.rpartition(":")
    shown_version, shown_model = str(entry.get("version") or ""), str(entry.get("model") or "")
    if model.startswith("deployments/"):
        return None
    if not owner_name and not VERSION_ID.fullmatch(model):
        return shown_model == model if shown_model else None
    if VERSION_ID.fullmatch(shown_version):
        return shown_version.startswith(version)
    return False if owner_name and shown_model and shown_model != owner_name else None


def _has_input(shown: Json, wanted: Mapping[str, Json]) -> bool | None:
    """Whether this is the wanted input; None if it could be, after the provider has rewritten it."""
    if not isinstance(shown, Mapping):
        return None
    if likeness(shown) == likeness(wanted) != "":
        return True
    comparable = (name for name in shown.keys() & wanted.keys() if _is_kept(wanted[name]) and _is_kept(shown[name]))
    return False if any(likeness(shown[name]) != likeness(wanted[name]) for name in comparable) else None


def _is_kept(value: Json) -> bool:
    """Whether the provider shows this value as it was given."""
    return isinstance(value, bool | int | float) or (isinstance(value, str) and not value.startswith("data:"))
