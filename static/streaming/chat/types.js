/**
 * Types of the component's parts. The module is empty at run time, and never loaded.
 *
 * @module
 */

/** @import { AgentClient, AgentEvent, AgentStream, RepeatRequest, RunRequest } from "../client/agent-client.js" */
/** @import { Composer } from "./composer.js" */
/** @import { Exchange } from "./exchange.js" */
/** @import { Language } from "./language.js" */
/** @import { Headers, Options } from "./options.js" */
/** @import { Status } from "./status.js" */
/** @import { Transcript } from "./transcript.js" */

/**
 * A request with a question, or one that repeats an answer.
 *
 * @typedef {RunRequest | (RepeatRequest & {input?: undefined, parent_message_id?: undefined})} AnyRequest
 */

/**
 * A run that the component follows.
 *
 * @typedef {object} Followed
 * @property {Exchange} exchange
 * @property {AgentStream} stream
 * @property {AbortController} connection
 * @property {boolean} replay the run had ended before it was followed
 * @property {boolean} cancelling
 * @property {() => void} onKnown
 * @property {Promise<void>} known resolves when the server has accepted or rejected the run
 * @property {Outcome} [outcome] present if it was completed or stopped
 */

/**
 * The end of a run.
 *
 * @typedef {object} Outcome
 * @property {string} text the answer
 * @property {string} stopReason
 * @property {string} runId
 * @property {string} conversationId
 */

/**
 * @typedef {object} Components
 * @property {ShadowRoot} root
 * @property {AgentClient} client
 * @property {Transcript} transcript
 * @property {Language} language
 * @property {Status} status
 * @property {Composer} composer
 * @property {Options} options
 */

/**
 * @typedef {object} ChatCallbacks
 * @property {(title: string, agent?: string) => void} opened another conversation is shown, or
 *   its title is known; `agent` is that of its last run
 * @property {(runId: string) => void} changed a run began or ended
 * @property {() => void} emptied the conversation is no longer shown
 * @property {(replay: boolean) => void} followed a run, or its replay, is followed
 * @property {(event: AgentEvent, replay: boolean) => void} received
 * @property {(outcome: Outcome) => void} completed
 * @property {(exchange: Exchange) => void} branched a run has begun another branch
 * @property {() => void} ended the run is no longer followed
 * @property {(error: any) => void} failed a run failed, or the server rejected a request
 */

/**
 * The language of an exchange, and the actions offered when it has ended; an omitted one is
 * not offered.
 *
 * @typedef {object} ExchangeOptions
 * @property {import("./language.js").Language} [language]
 * @property {boolean} [details] true to show what developers want to know
 * @property {(exchange: Exchange) => void} [edit]
 * @property {(exchange: Exchange) => void} [versions] called when there are other versions
 * @property {(exchange: Exchange) => void} [regenerate] of the last exchange only
 * @property {(exchange: Exchange) => Promise<string>} [curl] the command that sends the same request
 */

/**
 * @typedef {object} ListCommands
 * @property {(conversationId: string) => void} open
 * @property {(conversationId: string) => void} deleted
 * @property {(conversationId: string, title: string) => void} renamed
 * @property {() => void} listed the list was loaded
 * @property {(error: any) => void} refused the server rejected a request
 * @property {(text: string) => void} announce
 */

/**
 * @typedef {object} PaneParts
 * @property {HTMLElement} state its attribute `data-NAME` is "open" or "closed"
 * @property {HTMLElement} pane
 * @property {HTMLElement} toggle
 * @property {HTMLElement} close
 * @property {HTMLElement} scrim
 * @property {() => Iterable<Element>} covered elements that the drawer makes inert
 */

/**
 * @typedef {object} PaneOptions
 * @property {boolean} openAtFirst true if it is open beside the chat until the user closes it
 * @property {string} role its role beside the chat
 * @property {(shown: boolean) => unknown} [onShow]
 */

/**
 * @typedef {object} Commands
 * @property {(prompt: string) => void} start
 * @property {(prompt: string) => void} enqueue starts a run after the active one
 * @property {() => void} pause pauses or resumes
 * @property {() => void} stop
 * @property {() => void} clear
 * @property {(text: string) => void} announce
 */

/**
 * The properties of the element that are no attributes.
 *
 * @typedef {object} Properties
 * @property {Record<string, string> | undefined} context
 * @property {Partial<RunRequest> | undefined} request
 * @property {Headers | (() => Headers | Promise<Headers>)} headers
 */

export {};
