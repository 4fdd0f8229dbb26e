"""The texts of mails, in each language, as plain text and as HTML. What comes from outside is escaped in HTML."""

from collections.abc import Sequence
from html import escape
from typing import Literal

from shared.frozen import dataclass

Language = Literal["en", "zh"]

PAGE = """\
<!doctype html>
<html lang="{lang}">
<head><meta charset="utf-8"><title>{subject}</title></head>
<body style="margin:0;padding:24px;font-family:system-ui,sans-serif;color:#1a1a1a">
{paragraphs}
</body>
</html>
"""
PARAGRAPH = '<p style="margin:0 0 16px">{}</p>'
CODE = '<p style="margin:0 0 16px;font-size:32px;letter-spacing:6px;font-family:monospace"><strong>{}</strong></p>'


@dataclass(frozen=True)
class CodeText:
    """The words of a mail with a code. ``{product}`` and ``{minutes}`` are filled in."""

    lang: str
    subject: str
    subject_of_product: str
    opening: str
    life: str
    warning: str


CODE_TEXTS: dict[Language, CodeText] = {
    "en": CodeText(
        "en",
        "Your verification code",
        "Your verification code for {product}",
        "Your verification code is:",
        "It is valid for {minutes} minutes and can be used once.",
        "Give this code to nobody. If you did not ask for it, you can ignore this mail.",
    ),
    "zh": CodeText(
        "zh-Hans",
        "您的验证码",
        "您的 {product} 验证码",
        "您的验证码是：",  # noqa: RUF001
        "验证码在 {minutes} 分钟内有效，且只能使用一次。",  # noqa: RUF001
        "请勿将验证码告诉任何人。如果这不是您本人的操作，请忽略此邮件。",  # noqa: RUF001
    ),
}


@dataclass(frozen=True)
class Written:
    """A mail's subject and its two forms."""

    subject: str
    text: str
    html: str


# By event; any other event of the outbox brings no mail.
END_TEXTS: dict[Language, dict[str, str]] = {
    "en": {
        "completed": "Your job is done.",
        "failed": "Your job has failed.",
        "canceled": "Your job was cancelled.",
        "batch": "Your jobs are done.",
    },
    "zh": {
        "completed": "您的任务已完成。",
        "failed": "您的任务失败了。",
        "canceled": "您的任务已取消。",
        "batch": "您的任务已全部结束。",
    },
}


def end_mail(language: Language, event: str, title: str, link: str) -> Written:
    """Returns the mail about the end of a job or a batch. ``title`` and ``link`` are the application's; '' for none."""
    sentence = END_TEXTS[language]["batch" if event.startswith("batch") else event]
    subject = f"{sentence.rstrip('.。')}: {title}" if title else sentence
    lines = [line for line in (sentence, title, link) if line]
    paragraphs = [PARAGRAPH.format(escape(line)) for line in (sentence, title) if line]
    if link:
        paragraphs.append(PARAGRAPH.format(f'<a href="{escape(link)}">{escape(link)}</a>'))
    lang = CODE_TEXTS[language].lang
    html = PAGE.format(lang=lang, subject=escape(subject), paragraphs="\n".join(paragraphs))
    return Written(subject, "\n\n".join(lines) + "\n", html)


def notice_mail(subject: str, parts: Sequence[tuple[str, str, str]]) -> Written:
    """Returns a mail to the operator. Each part is a lead, a text and a link; '' for one that it lacks."""
    lines = ["\n".join(filter(None, part)) for part in parts]
    paragraphs = [
        PARAGRAPH.format("<br>".join(f"<strong>{escape(line)}</strong>" if n == 0 and line else escape(line)
                                     for n, line in enumerate(part) if line))
        for part in parts
    ]  # fmt: skip
    html = PAGE.format(lang="en", subject=escape(subject), paragraphs="\n".join(paragraphs))
    return Written(subject, "\n\n".join(lines) + "\n", html)


def code_mail(language: Language, product: str, code: str, minutes: int) -> Written:
    """Returns the mail that brings a code. ``product`` is the sender's name, '' for none."""
    words = CODE_TEXTS[language]
    subject = words.subject_of_product.format(product=product) if product else words.subject
    life = words.life.format(minutes=minutes)
    text = "\n\n".join([words.opening, f"    {code}", life, words.warning]) + "\n"
    paragraphs = [
        PARAGRAPH.format(escape(words.opening)),
        CODE.format(escape(code)),
        *(PARAGRAPH.format(escape(line)) for line in (life, words.warning)),
    ]
    html = PAGE.format(lang=words.lang, subject=escape(subject), paragraphs="\n".join(paragraphs))
    return Written(subject, text, html)
