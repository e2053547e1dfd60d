"""The rules of the demo model, in the order in which they are asked."""

from streaming.providers.demo.arithmetic import arithmetic
from streaming.providers.demo.plans import Rule
from streaming.providers.demo.problems import compound_interest, word_problem
from streaming.providers.demo.scripts import call, script
from streaming.providers.demo.talk import anything, greeting, name, time, too_long

RULES: tuple[Rule, ...] = (
    too_long,
    script,
    call,
    word_problem,
    compound_interest,
    time,
    name,
    arithmetic,
    greeting,
    anything,
)
