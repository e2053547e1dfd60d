"""A llama.cpp server: `llama_server.py PORT TEMPLATE CONTEXT [END …]`.

It runs in the environment of `make real-model`, which has none of this project's
packages. CONTEXT is the context window of each of two slots, in tokens. A response ends
before one of the texts END; without any the model never ends a response by itself.
"""

import signal
import sys
from pathlib import Path

import xllamacpp

SLOTS = 2


def parameters(
    port: int, template: Path, context: int, ends: list[str]
) -> xllamacpp.CommonParams:
    """Return the server's parameters, with which equal requests get equal responses."""
    params = xllamacpp.CommonParams()
    params.model.path = str(Path(sys.prefix) / "model.gguf")
    params.port = port
    params.n_ctx = context * SLOTS
    params.n_parallel = SLOTS
    params.chat_template = template.read_text()
    params.endpoint_metrics = params.endpoint_slots = True
    params.sampling.temp = 0.0
    params.antiprompt = ends
    params.sampling.ignore_eos = not ends
    # Else no prefix of a prompt is used again: the model attends to a sliding window.
    params.swa_full = True
    # Two threads wait for each other in a loop, which takes ten times as long on a
    # machine whose cores have other work.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    return params


def main(port: str, template: str, context: str, *ends: str) -> None:
    """Serve until the process is terminated."""
    server = xllamacpp.Server(
        parameters(int(port), Path(template), int(context), list(ends))
    )
    print(server.listening_address, flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main(*sys.argv[1:])
