/**
 * The words of the agent's API, as types: requests, events, answers, streams. Nothing of this
 * is there at run time.
 *
 * @module
 */

/**
 * What to ask. `org_id` is the client's when left out; without a `conversation_id` a
 * new conversation begins.
 *
 * @typedef {object} RunRequest
 * @property {string} input
 * @property {string} [org_id]
 * @property {string} [conversation_id]
 * @property {Record<string, string>} [context] handed to the tools
 * @property {number} [max_iterations]
 * @property {EventType[]} [events] send only these; the first and the last always come
 * @property {boolean} [background] go on to the end even if nobody listens
 */

/**
 * @template {string} Type
 * @template Data
 * @typedef {object} EventOf
 * @property {string} id what to resume after; "" for an event that is not in the log
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
/** @typedef {EventOf<"error", {error: string, metadata: Failure}>} ErrorEvent */
/** @typedef {EventOf<"complete", {metadata: Outcome}>} CompleteEvent */
/** @typedef {EventOf<"done", {}>} DoneEvent */

/**
 * What comes out of a run, told apart by `type`. A later server may send types that
 * are not listed here: let them pass.
 *
 * @typedef {ConnectedEvent | ThinkingEvent | ContentEvent | ToolCallEvent
 *   | ToolResultEvent | ErrorEvent | CompleteEvent | DoneEvent} AgentEvent
 */

/** @typedef {AgentEvent["type"]} EventType */

/**
 * Which run a connection follows. `resumed_after` is there when the connection goes on
 * where an earlier one ended: the number of the last event that was seen.
 *
 * @typedef {object} Connection
 * @property {string} agent
 * @property {string} run_id
 * @property {string} org_id
 * @property {string} conversation_id
 * @property {string} provider
 * @property {string} model
 * @property {number} [resumed_after]
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
 * @typedef {object} Failure
 * @property {string} code
 * @property {boolean} retryable whether the same request may succeed later
 */

/**
 * @typedef {object} Outcome
 * @property {StopReason} stop_reason
 * @property {Usage} usage
 * @property {ExecutionSummary} execution_summary
 */

/** @typedef {"end_turn" | "max_tokens" | "max_iterations" | "refusal" | "cancelled"} StopReason */

/**
 * Tokens; those of the output count the reasoning too.
 *
 * @typedef {object} Usage
 * @property {number} input_tokens
 * @property {number} output_tokens
 * @property {number} total_tokens
 * @property {number} reasoning_tokens
 */

/**
 * What a run did. Its time and its reason to stop are null until it has ended.
 *
 * @typedef {object} ExecutionSummary
 * @property {number} llm_calls
 * @property {number} tool_calls
 * @property {number | null} execution_time_ms
 * @property {string[]} used_tools
 * @property {StopReason | null} stop_reason
 */

/**
 * A run that ended well.
 *
 * @typedef {object} RunAnswer
 * @property {string} output
 * @property {string} agent
 * @property {ExecutionSummary} execution_summary
 * @property {Usage} usage
 * @property {string} run_id
 * @property {string} org_id
 * @property {string} conversation_id
 */

/**
 * A run at any time of its life; times are ISO 8601 in UTC.
 *
 * @typedef {RunAnswer & RunLife} RunState
 */

/**
 * @typedef {object} RunLife
 * @property {RunStatus} status
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
 * What came of a run, beside the messages that it left.
 *
 * @typedef {object} RunOutcome
 * @property {string} run_id
 * @property {RunStatus} status
 * @property {RunFailure | null} error
 * @property {ExecutionSummary} execution_summary
 * @property {Usage} usage
 */

/** @typedef {"running" | "completed" | "cancelled" | "failed"} RunStatus */
/** @typedef {{code: string, message: string}} RunFailure */

/**
 * What the agent is and can do.
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
 * @property {{name: string, description: string, parameters: Record<string, unknown>}[]} tools
 * @property {string[]} event_types
 * @property {Record<string, number>} limits
 */

/**
 * @typedef {object} ConversationSummary
 * @property {string} conversation_id
 * @property {string} title the beginning of what was asked first
 * @property {string | null} active_run_id the run under way
 * @property {string} created_at
 * @property {string} updated_at
 */

/**
 * `next_cursor` is null on the last page.
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
 * @property {RunOutcome[]} runs oldest first
 */

/**
 * @typedef {object} Message
 * @property {"user" | "assistant" | "tool"} role
 * @property {MessagePart[]} parts in the order they came
 * @property {string | null} run_id
 * @property {string} created_at
 */

/**
 * @typedef {{type: "text", text: string}
 *   | {type: "thinking", text: string}
 *   | {type: "tool_call", id: string, name: string, arguments: string}
 *   | {type: "tool_result", id: string, name: string, result: string, is_error?: boolean}
 * } MessagePart
 */

/**
 * @typedef {object} Readiness
 * @property {"ready" | "unavailable"} status
 * @property {Record<string, string>} checks each thing that a run needs, with its state
 */

/** @typedef {"connecting" | "streaming" | "paused" | "reconnecting" | "ended"} StreamState */

/**
 * How a stream stands. `attempt` counts the tries since the last sign of life; `error`
 * is why there were any. `retryAt` (ms since the epoch) is there while the next one is
 * waited for.
 *
 * @typedef {object} StreamStatus
 * @property {StreamState} state
 * @property {number} attempt
 * @property {number} [retryAt]
 * @property {import("./agent-http.js").AgentError} [error]
 */

/**
 * @typedef {object} StreamOptions
 * @property {AbortSignal} [signal] closes the connection; the run goes on
 * @property {(status: StreamStatus) => void} [onState] is told each change
 * @property {number} [maxAttempts] how often in a row to try in vain; for ever when left out
 * @property {number} [silenceMs] without a byte, after which a connection counts as dead
 */

export {};
