"""The rules by which output matches what a document shows."""

import pytest

from tests.documents.console import Command

ANSWER = '{"id": "job_5ffc", "status": "processing", "counts": {"expected": 2}, "files": []}'


@pytest.mark.parametrize(
    ("shown", "is_printed"),
    [
        (
            '{\n  "id": "job_0a",\n  "status": "processing",\n  "counts": {\n    "expected": 7\n  },\n  "files": []\n}',
            True,
        ),
        ('{\n  "id": "job_0a",\n  ...\n}', True),
        ('{\n  ...\n  "counts": {...},\n  "files": [...]\n}', True),
        ('{\n  ...\n  "status": "proc...",\n  ...\n}', True),
        ('{\n  "id": "job_0a",\n  "counts": {...},\n  "files": []\n}', False),
        ('{\n  ...\n  "status": "completed",\n  ...\n}', False),
        ('{\n  "id": "job_0a"\n}', False),
        ('{\n  ...\n  "id": "bat_0a",\n  ...\n}', False),
        ("", False),
    ],
)
def test_an_answer_is_what_the_document_shows_except_for_what_it_leaves_out(shown: str, is_printed: bool) -> None:
    assert Command("a page", "curl", shown).prints(ANSWER) is is_printed


def test_text_is_compared_line_by_line() -> None:
    shown = Command("a page", "make", "5 jobs, 2 at a time:\n...\n   0.1s  ada\n...")
    assert shown.prints("5 jobs, 2 at a time:\n\n  12.0s   ada\n")
    assert not shown.prints("5 jobs, 2 at a time:\n")
    assert not shown.prints("Hello\n5 jobs, 2 at a time:\n  12.0s   ada\n")
