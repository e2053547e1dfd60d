"""An LLM agent behind HTTP and SSE, where a stream is a durable run.

The path of a request, from the top down; imports point down only:

    urls, asgi        what is reachable
    views, admin      HTTP in, HTTP out
    http, schemas     event-stream responses, JSON errors, typed request bodies
    runs              the life of a run: start, follow, cancel, drain, recover
    agent, turn       the loop: model call -> tool calls -> model call
    event_log         every event of a run, numbered; followed from any number on
    models, conf, db  what is kept; the typed settings; the way to the database
    providers, tools  the model's side, the world's side
    wire              events as bytes
    messages, events  what goes into the model; what comes out of a run
    exceptions        everything that can go wrong
"""

__version__ = "0.1.0"
