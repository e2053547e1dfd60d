"""The four documented prompts of the demo model, as README and page show them."""

EXPLAIN = "Explain how photosynthesis works"
APPLES = (
    "Think through this step by step: If I have 20 apples and give away 3/4 of them, "
    "then buy twice as many as I gave away, how many apples do I have?"
)
INTEREST = "Calculate the compound interest for $5000 at 3.5% annual rate for 8 years"
PUZZLE = (
    "Using step-by-step reasoning, solve this logic puzzle: Three friends, Ann, Bob "
    "and Cleo, have different colored cars: red, blue and green. Ann's car is not red. "
    "Bob's car is blue. Which car does each of them have?"
)
PROMPTS = (EXPLAIN, APPLES, INTEREST, PUZZLE)
