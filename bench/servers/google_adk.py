"""Google's ADK: its own API server, sessions in memory, its own models of each vendor.

These stand directly on the vendors' SDKs, which is less than LiteLLM costs.
"""

import os
from collections.abc import Callable

from google.adk.agents import LlmAgent
from google.adk.agents.base_agent import BaseAgent
from google.adk.cli.fast_api import get_fast_api_app
from google.adk.cli.utils.base_agent_loader import BaseAgentLoader
from google.adk.integrations.openai import OpenAILlm, OpenAIResponsesLlm
from google.adk.models.anthropic_llm import AnthropicLlm
from google.adk.models.base_llm import BaseLlm

from bench.wire import MODEL

MODELS: dict[str, Callable[..., BaseLlm]] = {
    "chat": OpenAILlm,
    "responses": OpenAIResponsesLlm,
    "anthropic": AnthropicLlm,
}
agent = LlmAgent(
    name="agent",
    model=MODELS[os.environ["PROTOCOL"]](model=MODEL),
    instruction="You are a helpful agent.",
)


class OneAgent(BaseAgentLoader):
    """Instead of a directory of agents."""

    def load_agent(self, agent_name: str) -> BaseAgent:
        """The agent, independently of the name."""
        return agent

    def list_agents(self) -> list[str]:
        """Its name."""
        return [agent.name]


application = get_fast_api_app(
    agents_dir=".",
    agent_loader=OneAgent(),
    session_service_uri="memory://",
    artifact_service_uri="memory://",
    web=False,
    auto_create_session=True,
)
