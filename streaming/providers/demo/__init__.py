"""The built-in offline model: a few rules instead of a language model.

It needs no key and no network, and says that it is a demo model. It streams thinking,
calls the agent's real tools and answers from their results, so that the whole server
can be tried, tested and measured without a provider. `rules` lists the prompts that it
answers.
"""
