/**
 * Types of the agent's API: requests, events, responses and streams. The module is empty at
 * run time.
 *
 * @module
 */

/**
 * A request to start a run. `org_id` defaults to the client's; without `conversation_id`
 * the server creates a conversation.
 *
 * @typedef {object} RunRequest
 * @property {string} input
 * @property {string} [org_id]
 * @property {string} [conversation_id]
 * @property {string} [agent] the default one if omitted
 * @property {Record<string, string>} [context] passed to the tools
 * @property {number} [max_iterations]
 * @property {EventType[]} [events] the types to send; the first and last are always sent
 * @property {boolean} [background] continue to the end even without readers
 * @property {boolean} [restarts] the program handles `restarted`; true by default in `stream`.
 *   With false, a run that loses its server in the middle of a text fails as `interrupted`
 * @property {"reject" | "queue" | "interrupt"} [on_busy] the effect if the conversation has an
 *   active run
 * @property {number | null} [parent_message_id] the message to continue after, null for the
 *   beginning; the head if omitted
 */

/**
 * A request to answer the question of an ended run again.
 *
 * @typedef {Omit<RunRequest, "input" | "parent_message_id"> & {regenerate: string}} RepeatRequest
 */

/**
 * @template {string} Type
 * @template Data
 * @typedef {object} EventOf
 * @property {string} id the value to resume after; "" for an event that is not in the log
 * @property {Type} type
 * @property {Data & EventData<Type>} data the event as the server sent it
 */

/**
 * @template {string} Type
 * @typedef {object} EventData
 * @property {Type} type
 * @property {boolean} is_final
 * @property {number} timestamp milliseconds since the epoch, by the server's clock
 */

/** @typedef {EventOf<"connected", {metadata: Connection}>} ConnectedEvent */
/** @typedef {EventOf<"thinking", {thinking_step: string}>} ThinkingEvent */
/** @typedef {EventOf<"content", {content: string}>} ContentEvent */
/** @typedef {EventOf<"tool_call", {tool_call: ToolCall}>} ToolCallEvent */
/** @typedef {EventOf<"tool_result", {tool_call: ToolResult}>} ToolResultEvent */
/** @typedef {EventOf<"input", {input: string, message_id: string}>} InputEvent */
/** @typedef {EventOf<"restarted", {metadata: Restart}>} RestartedEvent */
/** @typedef {EventOf<"error", {error: string, metadata: Failure}>} ErrorEvent */
/** @typedef {EventOf<"complete", {metadata: Outcome}>} CompleteEvent */
/** @typedef {EventOf<"done", {}>} DoneEvent */

/**
 * An event of a run, distinguished by `type`. A newer server may send types that are not
 * listed here: skip them.
 *
 * @typedef {ConnectedEvent | ThinkingEvent | ContentEvent | ToolCallEvent
 *   | ToolResultEvent | InputEvent | RestartedEvent | ErrorEvent | CompleteEvent | DoneEvent} AgentEvent
 */

/** @typedef {AgentEvent["type"]} EventType */

/**
 * The run that a connection follows. `resumed_after` is present if the connection resumes
 * an earlier one: the number of the last event received before.
 *
 * @typedef {object} Connection
 * @property {string} agent
 * @property {string} run_id
 * @property {string} org_id
 * @property {string} conversation_id
 * @property {string} provider
 * @property {string} model
 * @property {number} [resumed_after]
 * @property {"pending"} [status] present while the run waits for earlier ones
 * @property {number} [position] of a pending run, from 1
 */

/**
 * @typedef {object} ToolCall
 * @property {string} id
 * @property {string} name
 * @property {string} arguments a JSON string
 * @property {"executing"} status
 */

/**
 * @typedef {object} ToolResult
 * @property {string} id
 * @property {string} name
 * @property {string} arguments a JSON string
 * @property {"completed" | "error"} status
 * @property {string} [result]
 */

/**
 * A further attempt of the run: its server was stopped, and the events after `discard_after`,
 * up to this one, are void.
 *
 * @typedef {object} Restart
 * @property {number} attempt
 * @property {number} discard_after
 */

/**
 * @typedef {object} Failure
 * @property {string} code
 * @property {boolean} retryable true if the same request may succeed later
 */

/**
 * @typedef {object} Outcome
 * @property {StopReason} stop_reason
 * @property {Usage} usage
 * @property {ExecutionSummary} execution_summary
 * @property {string} [provider] the provider of the model that answered, with fallbacks
 * @property {string} [model] the model that answered, with fallbacks
 * @property {unknown} [output] the answer as a JSON value, with an output type
 */

/** @typedef {"end_turn" | "max_tokens" | "max_iterations" | "refusal" | "cancelled" | "budget"} StopReason */

/**
 * Token counts; `output_tokens` includes `reasoning_tokens`.
 *
 * @typedef {object} Usage
 * @property {number} input_tokens
 * @property {number} output_tokens
 * @property {number} total_tokens
 * @property {number} reasoning_tokens
 */

/**
 * Counters of a run. `execution_time_ms` and `stop_reason` are null until it has ended.
 *
 * @typedef {object} ExecutionSummary
 * @property {number} llm_calls
 * @property {number} tool_calls
 * @property {number | null} execution_time_ms
 * @property {string[]} used_tools
 * @property {StopReason | null} stop_reason
 */

/**
 * A completed run.
 *
 * @typedef {object} RunResult
 * @property {string} output
 * @property {unknown} [structured_output] the answer as a JSON value, with an output type
 * @property {string} agent
 * @property {ExecutionSummary} execution_summary
 * @property {Usage} usage
 * @property {string} run_id
 * @property {string} org_id
 * @property {string} conversation_id
 */

/**
 * A run in any state; times are ISO 8601 in UTC.
 *
 * @typedef {RunResult & RunDetails} RunState
 */

/**
 * @typedef {object} RunDetails
 * @property {RunStatus} status
 * @property {number} [position] of a pending run, from 1
 * @property {string} input
 * @property {string} provider
 * @property {string} model
 * @property {boolean} background
 * @property {number} max_iterations
 * @property {RunFailure | null} error
 * @property {string} created_at
 * @property {string | null} first_token_at
 * @property {string | null} ended_at
 */

/**
 * The outcome of a run, in addition to its messages.
 *
 * @typedef {object} RunOutcome
 * @property {string} run_id
 * @property {string} agent
 * @property {RunStatus} status
 * @property {RunFailure | null} error
 * @property {ExecutionSummary} execution_summary
 * @property {Usage} usage
 */

/** @typedef {"pending" | "queued" | "running" | "completed" | "cancelled" | "failed"} RunStatus */
/** @typedef {{code: string, message: string}} RunFailure */

/**
 * An agent that the caller may use.
 *
 * @typedef {object} Agent
 * @property {string} name
 * @property {string} title
 * @property {string} description
 * @property {string[]} opening_questions
 * @property {string} provider
 * @property {string} model
 * @property {Tool[]} tools
 * @property {boolean} default true for the agent of requests that name none
 */

/** @typedef {{name: string, description: string, parameters: Record<string, unknown>}} Tool */

/**
 * The agent's name, model, tools, event types and limits.
 *
 * @typedef {object} AgentMetadata
 * @property {string} name
 * @property {string} description
 * @property {string} version
 * @property {boolean} supports_streaming
 * @property {string[]} capabilities
 * @property {Record<string, string>} endpoints
 * @property {string} provider
 * @property {string} model
 * @property {Tool[]} tools
 * @property {string[]} event_types
 * @property {Record<string, number>} limits
 */

/**
 * @typedef {object} ConversationSummary
 * @property {string} conversation_id
 * @property {string} title the beginning of the first prompt, or that of a rename
 * @property {string | null} active_run_id the active run
 * @property {number | null} head the last message of the shown branch; null: the newest one
 * @property {string} created_at
 * @property {string} updated_at
 */

/**
 * A page of conversations. `next_cursor` is null on the last page.
 *
 * @typedef {object} ConversationPage
 * @property {ConversationSummary[]} conversations
 * @property {string | null} next_cursor
 */

/** @typedef {ConversationSummary & ConversationContent} Conversation */

/**
 * @typedef {object} ConversationContent
 * @property {string} org_id
 * @property {Message[]} messages
 * @property {RunOutcome[]} runs those of these messages, oldest first
 * @property {string} [next_cursor] present if there are more messages
 */

/**
 * @typedef {object} Message
 * @property {"user" | "assistant" | "tool"} role
 * @property {MessagePart[]} parts in the order of arrival
 * @property {string | null} run_id
 * @property {string} created_at
 * @property {number} id
 * @property {number | null} parent_id the message before it
 * @property {number[]} [siblings] present if its parent has several children: their ids
 */

/**
 * The pending runs of a conversation, in their order.
 *
 * @typedef {{conversation_id: string, runs: PendingRun[]}} Queue
 */

/**
 * @typedef {object} PendingRun
 * @property {string} run_id
 * @property {number} position from 1
 * @property {string} input
 * @property {string} agent
 * @property {string} created_at
 */

/**
 * @typedef {{type: "text", text: string, steers?: boolean}
 *   | {type: "thinking", text: string}
 *   | {type: "tool_call", id: string, name: string, arguments: string}
 *   | {type: "tool_result", id: string, name: string, result: string, is_error?: boolean}
 *   | {type: "summary", text: string, exchanges: number}
 * } MessagePart
 */

/**
 * @typedef {object} Readiness
 * @property {"ready" | "unavailable"} status
 * @property {Record<string, string>} checks the state of each dependency
 */

/**
 * The state of a stream. In the state "hidden" the page is hidden and the connection closed;
 * the stream continues every 20 s, and when the page is shown.
 *
 * @typedef {"connecting" | "streaming" | "paused" | "hidden" | "reconnecting" | "ended"} StreamState
 */

/**
 * The status of a stream. `attempt` counts the attempts since the last received event;
 * `error` is the reason for them. `retryAt` (ms since the epoch) is present during the wait
 * before the next attempt.
 *
 * @typedef {object} StreamStatus
 * @property {StreamState} state
 * @property {number} attempt
 * @property {number} [retryAt]
 * @property {import("./agent-http.js").AgentError} [error]
 */

/**
 * @typedef {object} StreamOptions
 * @property {AbortSignal} [signal] closes the connection; the run continues
 * @property {(status: StreamStatus) => void} [onState] called after each change
 * @property {number} [maxAttempts] failed attempts before the stream throws; unlimited if omitted
 * @property {number} [silenceMs] time without a byte, after which a connection has failed
 * @property {number} [hiddenMs] time that a hidden page keeps its connection
 */

/**
 * The run to follow: `request` starts a new one, `runId` names an existing one.
 *
 * @typedef {object} Target
 * @property {RunRequest | RepeatRequest} [request]
 * @property {string} [idempotencyKey]
 * @property {string} [runId]
 * @property {string} [orgId]
 * @property {number} [after]
 * @property {EventType[]} [events]
 */

export {};
