// Clients of web pages in Node.js, all of one kind: EventSource, fetch-event-source or this
// project's. Each has one run after another, until a line arrives on stdin; then each run
// is printed as one line of JSON.

import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

import { AgentClient } from "../../static/streaming/client/agent-client.js";

const { kind, api, body, count, spreadMs } = JSON.parse(process.argv[2]);
const TYPES =
  "connected thinking content tool_call tool_result restarted error complete done".split(" ");

/** A recorded run; `add` returns true once the last event has arrived. */
class Run {
  runId = "";
  events = [];
  askedAt = Date.now();

  add(type, id, data) {
    // EventSource repeats the last id for an event without one, as `connected` is.
    if (!id || type === "connected") return false;
    const [runId, number] = id.split(":");
    this.runId = runId;
    this.events.push([Number(number), type, data, Date.now()]);
    return type === "done";
  }
}

const json = (key) => ({ "Content-Type": "application/json", "Idempotency-Key": key });

/** Start a run without following it; the request is repeated until there is a response. */
async function startRun() {
  const key = randomUUID();
  for (;;) {
    try {
      const request = { method: "POST", headers: json(key), body: JSON.stringify(body) };
      const response = await fetch(`${api}/stream`, request);
      await response.body?.cancel();
      if (response.ok) return response.headers.get("X-Run-Id");
    } catch {
      // the server is not there
    }
    await sleep(200);
  }
}

/** As documented: EventSource resumes by itself, except after a response with an error. */
async function eventSource(run) {
  run.runId = await startRun();
  for (let after = 0, over = false; !over; ) {
    const source = new EventSource(`${api}/runs/${run.runId}/events?after=${after}`);
    over = await new Promise((resolve) => {
      for (const type of TYPES) {
        source.addEventListener(type, ({ data, lastEventId }) => {
          if (!data) return; // an `error` without data is not the run's
          after = lastEventId.split(":")[1] ?? after;
          if (run.add(type, lastEventId, data)) resolve(true);
        });
      }
      source.addEventListener("error", () => {
        if (source.readyState === EventSource.CLOSED) resolve(false);
      });
    });
    source.close();
    if (!over) await sleep(200 + Math.random() * 200);
  }
}

async function fetchEvents(run) {
  // The library is made for browsers: it uses these globals and no other. This project's
  // client would take them for a page.
  const document = { hidden: false, addEventListener() {}, removeEventListener() {} };
  Object.assign(globalThis, { window: globalThis, document });
  const require = createRequire(import.meta.url);
  const { fetchEventSource } = require("@microsoft/fetch-event-source");
  let over = false;
  await fetchEventSource(`${api}/stream`, {
    method: "POST",
    headers: json(randomUUID()),
    body: JSON.stringify(body),
    openWhenHidden: true,
    onmessage({ event, id, data }) {
      over = run.add(event, id, data) || over;
    },
    onclose() {
      if (!over) throw new Error("closed before the end");
    },
    onerror: () => 200 + Math.random() * 200,
  });
}

async function client(run) {
  const stream = new AgentClient({ baseUrl: `${api}/` }).stream(body);
  for await (const { type, id, data } of stream) run.add(type, id, JSON.stringify(data));
}

let stopped = false;
const runs = [];

async function repeat(follow, delay) {
  await sleep(delay);
  while (!stopped) {
    const run = new Run();
    let trouble = "";
    try {
      await follow(run);
    } catch (error) {
      trouble = error.stack;
      await sleep(1000); // a client that fails at once must not take all of the time
    }
    const { runId, askedAt, events } = run;
    runs.push({ client: kind, runId, askedAt, events, trouble });
  }
}

once(process.stdin, "data").then(() => {
  stopped = true;
  process.stdin.destroy();
});
const follow = { EventSource: eventSource, "fetch-event-source": fetchEvents, client }[kind];
const delays = Array.from({ length: count }, (_, at) => (spreadMs * at) / count);
await Promise.all(delays.map((delay) => repeat(follow, delay)));
for (const run of runs) console.log(JSON.stringify(run));
