"""What a provider's text about a failure means: phrases, and the class of failures that each of them shows.

Each model writes its own texts. ``RULES`` reads a text from top to bottom, and the first rule with a phrase in it
decides. tests/providers/failure_texts.py has the texts that the rules were made from.

A phrase is in lower case and has whole words. ``*`` stands for up to 40 characters, ``~`` for the rest of a word,
``(a|b)`` for a choice, and ``<name>`` for one of the lists below. So no pattern repeats a repetition, and a search
takes time in proportion to the text.
"""

import functools
import re
from typing import NamedTuple

MAX_GAP = 40  # characters that a ``*`` stands for
LISTS = {
    "checker": "moderation|moderator|safety|nsfw|content filter|guardrail",
    "media": "images?|pictures?|photos?|videos?|audio|media|files?|urls?|masks?|frames?|reference|inputs?|links?",
    "fetch": "download|fetch|access|retrieve|load|open|read|decode|parse|identify",
    "fetched": "downloaded|fetched|accessed|retrieved|loaded|opened|read|decoded|parsed|identified|found",
    "cannot": "failed|failure|fail|unable|error|cannot|can't|couldn't|could not|problem",
    "weights": "weights?|checkpoints?|safetensors|tokenizer|pipeline",
    "must": "must|should|has to|have to|needs to",
    "subject": "faces?|person|people|human|pose|speech|body",
}
# Infrastructure is looked at first: its texts may name what was under way, such as a moderation.
INFRASTRUCTURE = """
    out of memory
    (oom|oomkilled)
    (cuda|cudnn|cublas|nccl)
    gpu * (error|lost|unavailable)
    director: unexpected
    (e1001|e6716|e8765|e9243|e9825|e9828)
    interrupted
    preempt~
    (worker|instance|runner|container|process|node|pod) * (died|crashed|lost|killed|terminated|disconnected|evicted)
    <checker> * (timed out|timeout|unavailable|not available|unreachable|crashed|overloaded|internal error)
    <checker> * (failed to|could not|cannot) * (load|loaded|start|started|respond|connect|reached|initialize)
    <checker> * (did not|does not) (respond|answer)
    <checker> * (returned|connection) * (error|status|5~|refused|reset|failed)
    (failed to|could not|cannot|unable to) * (load|download|fetch|find) * (model|<weights>)
    (timed out|timeout|error) * (loading|downloading) * (model|<weights>)
    internal (server error|error|service error)
    service (is|temporarily|currently|unavailable) * unavailable
    service unavailable
    temporarily unavailable
    (system|server|service|model|servers) (is|are) (busy|overloaded|at capacity|currently busy|currently overloaded)
    (under|due to) (heavy|high) (load|demand)
    no (available) (workers?|capacity|gpus?|instances?)
    no (workers?|capacity|gpus?|instances?) available
    bad gateway
    no space left
    系统繁忙
    服务繁忙
    服务器繁忙
    服务不可用
    内部错误
    系统错误
    显存不足
"""
# An exception that Python itself raises is a bug of the model. What it quotes decides nothing.
BUG = """
    (typeerror|attributeerror|keyerror|indexerror|nameerror|assertionerror|importerror|modulenotfounderror)
    (unboundlocalerror|zerodivisionerror|notimplementederror|unpicklingerror)
    nonetype
    unsupported operand
    not subscriptable
    object has no attribute
    index out of range
    unexpected keyword argument
    weights_only
"""
# A schema's refusal may quote names of options, such as safety_tolerance and 'nsfw'.
SCHEMA = """
    is not one of
    must be one of
    (is a required property|field required|additional properties)
    (safety_tolerance|safety_checker|enable_safety_checker|disable_safety_checker) * (must|should|expected|invalid)
"""
CONTENT = """
    nsfw
    flagged
    (moderated|e005)
    inappropriate
    prohibited
    (copyright|copyrighted|trademark|trademarked)
    responsible ai
    content[ _-](policy|policies|moderation|filter|filters|filtering|guidelines?|restrictions?|violation|safety)
    (usage|community|safety|acceptable use) (guidelines?|policy|policies)
    policy[ _-]violation
    (content_policy_violation|policyviolation|contentfiltered|raimediafiltered)
    violat~ * (policy|policies|guidelines?|terms|rules|practices)
    safety (filter|filters|system|settings?|reasons?|checks?|checker|classifier|concerns?)
    (blocked|rejected|refused|filtered|denied) * (safety|moderation|filters?|policy)
    unsafe (content|images?|inputs?|outputs?|prompts?|material|requests?|results?)
    (flagged|detected|classified|marked|deemed|considered|rated|potentially) * unsafe
    (content|images?|prompt|outputs?|inputs?|request|result) * (is|was|be|contains?) * unsafe
    moderation * (failed|blocked|rejected|refused|error|policy)
    (prompt|input|output|image) moderation
    sensitive (content|information|words?|material|images?|topics?|terms?|subjects?|person)
    (as|is|was|be|too) sensitive
    ~sensitivecontent~
    contain~ * (nudity|violence|sexual|celebrity|celebrities|real person|real people|minors?|public figures?|gore)
    (sexual|explicit|adult) (content|material)
    sexually
    (nudity|real person|child safety)
    risk control
    敏感
    违规
    未通过审核
    审核未通过
    审核不通过
    不合规
    内容安全
    版权
    风控
    色情
    违禁
"""
INPUT = """
    invalid * (images?|urls?|uri|videos?|audio|files?|format|parameters?|arguments?|value|prompt|size|resolution|aspect)
    invalid * (input|inputs|duration|mask|base64|seed|version)
    (input validation|validation error|validation failed)
    (parameters?|arguments?|values?) * invalid
    missing * (required|parameters?|fields?)
    required (parameters?|fields?|input)
    unsupported * (images?|videos?|audio|media|files?|format|type|url|codec|aspect|resolution|size|language)
    (<media>|format|codec|type|resolution|aspect ratio) * not (supported|valid|allowed)
    <cannot> * (<fetch>) * <media>
    <cannot> * (downloading|fetching|loading|opening|reading|decoding) * <media>
    <cannot> * (download|downloading|fetch|fetching)
    <cannot> * <media> * (download|fetch|access)
    <media> * (could not|cannot|can't|couldn't|can not|failed to) be (<fetched>)
    <media> (download|fetch|access) (failed|error|timed out)
    download * (failed|error|404|403)
    <media> * (corrupt|corrupted|truncated|damaged|unreadable|inaccessible|not accessible|empty)
    (corrupt|corrupted|truncated|broken|damaged) (data|image|video|file|png|jpeg|header)
    (cannot identify image|unidentified image|unidentifiedimageerror|broken data stream|moov atom not found)
    (invalid data found|incorrect padding)
    not a valid
    (client error|404|403|410|not found|forbidden) * for url
    http (error|status|status code) (code)?(400|403|404|410)
    no * <subject> * (found|detected|in the)
    <subject> * not * (found|detected)
    (could not|cannot|can't|couldn't|unable to|failed to) (find|detect|locate) * <subject>
    (multiple|more than one) (faces|people|persons)
    (prompt|text|caption|tokens?|length) * (too long|too short|exceeds?|exceeded|exceeding|longer than|over the limit)
    maximum * (length|tokens|characters|duration|size|resolution|pixels)
    (prompt|text|input) * (empty|required)
    <must> be (divisible|a multiple|between|at least|at most|less|greater|smaller|larger|within|in the range)
    <must> be (a valid|an integer|a number|a url|provided|non-empty)
    (width|height|size|dimensions?|duration|resolution|fps|frames?|steps|scale|strength|ratio|seed|num_frames) * must
    (<media>|resolution|dimensions?|duration|payload|entity) * too (large|big|small|long|short|high|low|many)
    too (large|big|small|long|short|many) * (<media>|pixels|faces)
    exceeds? * (limit|maximum|size|duration|resolution|length)
    参数错误
    参数无效
    参数不合法
    无效的参数
    无效的图片
    图片无效
    图片格式
    图片过大
    图片尺寸
    下载失败
    提示词过长
    提示词太长
    未检测到人脸
    没有检测到人脸
"""
TIMEOUT = """
    (timed out|timeout|time out|timedout|deadline|took too long)
    超时
"""
UNREACHABLE = """
    unavailable
    connection (reset|refused|aborted|closed|error)
    (remote end closed|broken pipe|max retries exceeded)
    (try again later|please retry)
    请稍后
"""


class Rule(NamedTuple):
    """The class of the failures whose text has one of the phrases, and whether another attempt may help."""

    code: str
    retryable: bool
    phrases: str  # one a line

    @property
    def pattern(self) -> "re.Pattern[str]":
        """The pattern that finds any of the phrases. Made at its first use: all of them take longer than an import."""
        return _pattern(self.phrases)


@functools.cache
def _pattern(phrases: str) -> "re.Pattern[str]":
    return re.compile("|".join(_phrase(line.strip()) for line in phrases.strip().splitlines()))


def _phrase(phrase: str) -> str:
    for name, words in LISTS.items():
        phrase = phrase.replace(f"<{name}>", f"({words})")
    for mark, meaning in ((" * ", rf"\b.{{0,{MAX_GAP}}}\b"), ("~", r"\w*"), ("(", "(?:")):
        phrase = phrase.replace(mark, meaning)
    # Chinese has no spaces between words.
    return rf"\b{phrase}(?!\w)" if phrase.isascii() else phrase


RULES: tuple[Rule, ...] = (
    Rule("provider_down", True, INFRASTRUCTURE),
    Rule("unknown", True, BUG),
    Rule("invalid_input", False, SCHEMA),
    Rule("content_policy", False, CONTENT),
    Rule("invalid_input", False, INPUT),
    Rule("timeout", True, TIMEOUT),
    Rule("provider_down", True, UNREACHABLE),
)
