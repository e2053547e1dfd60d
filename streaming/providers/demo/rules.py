"""The rules of the demo model, in the order in which they are tried.

A pattern is matched at the question's beginning, ignoring case. No pattern is slow on a
long question: repeated parts exclude one another, and numbers have a maximum length.
"""

from streaming.providers.demo import calculations, commands, recorded
from streaming.providers.demo.plans import Answer, Reply
from streaming.providers.demo.sample import MARKDOWN

_COUNT = r"(\d[\d,]{0,9})"
_NUMBER = r"\d[\d,]{0,9}(?:\.\d{1,9})?"
RULES: dict[str, Answer] = {
    rf"count to {_COUNT}": commands.count,
    rf"stream {_COUNT} words": commands.stream,
    rf"think for {_COUNT} words": commands.think,
    rf"wait {_COUNT} seconds?": commands.wait,
    rf"fail(?: after {_COUNT} words)?$": commands.fail,
    r"refuse$": commands.REFUSAL,
    r"show markdown$": Reply(MARKDOWN),
    r"call `?([\w-]+)`? with (\{.*\})$": commands.call,
    r"what time is it(?: in ([\w/ ,'-]{1,200}))?[?.!]*$": commands.time,
    recorded.same_words(recorded.EXPLANATION_PROMPT): recorded.EXPLANATION,
    recorded.same_words(recorded.PUZZLE_PROMPT): recorded.PUZZLE,
    (
        r".*?\bI have (\d{1,9}) (\w+) and give away (\d{1,9}/\d{1,9}) of them, then "
        r"buy (twice|\d{1,9} times) as many as I gave away, how many \2 do I have"
    ).replace(" ", r"\s+"): calculations.give_away_and_buy,
    (
        r"(?:calculate |what is )?(?:the )?compound interest (?:for|on) ([$€£]?)"
        rf"({_NUMBER}) at ({_NUMBER})% (?:annual rate )?for (\d{{1,9}}) years?[.?]?$"
    ): calculations.compound_interest,
    r".{1,500}$": calculations.arithmetic,
    r"(?:help|hi|hello|hey|who are you|what can you do)\b": recorded.HELP,
    r"": recorded.apology,
}
