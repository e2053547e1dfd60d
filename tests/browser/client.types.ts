// The client's types as TypeScript programs see them. `tsc` checks this file; it never runs.

import { AgentClient, AgentError, type AgentEvent } from "../../static/streaming/client/agent-client.js";

const client = new AgentClient({ headers: async () => ({ Authorization: "Bearer x" }) });
const stream = client.stream(
  { input: "x", events: ["content", "tool_call"] },
  { onState: ({ state, retryAt, error }) => [state === "paused", retryAt?.toFixed(), error?.code] },
);

export async function show(): Promise<string> {
  let text: string = stream.runId;
  for await (const event of stream) {
    switch (event.type) {
      case "content":
        text += event.data.content.toUpperCase();
        // @ts-expect-error: of another event
        text += event.data.thinking_step;
        break;
      case "tool_call":
      case "tool_result":
        text += event.data.tool_call.name;
        break;
      case "complete":
        text += event.data.metadata.usage.total_tokens.toFixed();
        // @ts-expect-error: no such reason to stop
        if (event.data.metadata.stop_reason === "tired") return text;
        break;
      case "connected":
        text += event.data.metadata.resumed_after?.toFixed();
        break;
      // @ts-expect-error: no such event
      case "contents":
        break;
    }
  }
  return text;
}

export async function call(event: AgentEvent): Promise<void> {
  const { messages, next_cursor } = {
    ...(await client.conversations.get("c")),
    ...(await client.conversations.list({ limit: 5, search: "x" })),
  };
  const [part] = messages[0]?.parts ?? [];
  if (part?.type === "tool_result") part.result.trim();
  next_cursor?.trim();
  // @ts-expect-error: an input is needed
  client.run({ conversation_id: "c" });
  // @ts-expect-error: milliseconds are a number
  client.follow("r", { after: event.id, silenceMs: "1" });
  client.stream({ regenerate: "r", conversation_id: "c" });
  client.stream({ input: "x", on_busy: "queue", parent_message_id: null });
  const [waiting] = (await client.conversations.queue("c")).runs;
  waiting?.position.toFixed();
  const run = await stream.cancel();
  if (run?.status === "cancelled") throw new AgentError("x", { code: "x", status: 1 });
}
