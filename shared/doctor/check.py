"""What every check of the doctor has in common."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from shared.documents.doctor import Finding, Severity
from shared.json_value import Json


@dataclass
class Said:
    """The findings of a check, what it could not find out, and figures that it saw on the way."""

    findings: list[Finding] = field(default_factory=list)
    undetermined: list[str] = field(default_factory=list)
    figures: dict[str, Json] = field(default_factory=dict)

    def find(
        self,
        code: str,
        text: str,
        advice: str,
        *,
        subject: tuple[str, str] = ("deployment", ""),
        evidence: Mapping[str, Json] | None = None,
        severity: Severity = "error",
    ) -> None:
        """Adds a finding that no script heals; ``subject`` is a kind and a name."""
        self.findings.append(
            {
                "code": code, "severity": severity, "kind": subject[0], "subject": subject[1],
                "evidence": dict(evidence or {}), "text": text, "advice": advice, "can_heal": False, "healed": None,
            }
        )  # fmt: skip


class Check(Protocol):
    """Looks at one thing, within ``timeout`` s."""

    name: str
    timeout: float

    async def run(self) -> Said:
        """What is wrong. An error that it raises is a finding too."""
