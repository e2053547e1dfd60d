"""The built-in offline model: rules instead of a language model, and it says so.

It needs no key and no network, thinks aloud, calls the agent's real tools and answers
from their results. So the whole server can be tried, tested and measured without
paying anyone. What it can do:

* arithmetic in signs or words ("what is 15% of 240, and the square root of 144?"), also
  on from the result before ("and times 2?");
* problems of having, getting and giving away; compound interest;
* the time in a city or a time zone;
* a name that it was told in the conversation;
* and, to see how a client takes it: "count to 500", "stream 2000 words", "think for 100
  words", "wait 20 seconds", "fail after 10 words", "refuse", and "call NAME with {…}",
  which calls any of the agent's tools.
"""
