"""An LLM agent behind HTTP and SSE, where a stream is a durable run.

The path of a request, from the top down; imports point down only:

    urls               the routes
    api, admin         HTTP in, HTTP out; the operator's view
    selftest, server   the test stream; the ASGI application and its event streams
    runs               the life of a run: start, follow, cancel, drain, recover
    event_log          the numbered events of a run, followed from any number on
    agent              the loop: model call, tool calls, model call
    storage            the threads and statements that use the database
    models, conf       the database rows; the typed settings
    providers, tools   the model's side, the world's side
    wire, aio          events as bytes; timeouts
    messages, events   the input of the model; the output of a run
    exceptions         the errors that a client can receive

ARCHITECTURE.md has the complete table.
"""

__version__ = "0.1.0"
