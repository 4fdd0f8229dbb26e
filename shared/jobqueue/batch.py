"""How a batch stands, by how its jobs stand."""

MAX_JOBS = 200
OUTCOMES = ("completed", "failed", "canceled")


def counts_of(statuses: list[str]) -> dict[str, int]:
    """How many jobs have each status."""
    return {name: statuses.count(name) for name in ("pending", "processing", *OUTCOMES)}


def batch_status(fields: dict[str, str], counts: dict[str, int]) -> str:
    """The batch's own status: terminal once all its jobs are; its policy says what a failure makes of it."""
    if not fields.get("ended_at"):
        begun = counts["processing"] or sum(counts[name] for name in OUTCOMES)
        return "processing" if begun else "pending"
    if fields["policy"] == "all_or_nothing" and counts["failed"]:
        return "failed"
    if fields["policy"] == "all_or_nothing" and counts["canceled"]:
        return "canceled"
    if counts["completed"]:
        return "completed"
    return "failed" if counts["failed"] else "canceled"
