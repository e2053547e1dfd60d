// Streams of the client over lost connections, with real HTTP.

import assert from "node:assert/strict";
import { once } from "node:events";

import { delayMs } from "../../static/streaming/client/agent-connection.js";
import {
  DONE, collect, drop, frame, json, numbers, contentFrames, scripted, streamed, test, until,
} from "./scripted.mjs";

const ended = (response) => streamed(contentFrames(3) + DONE)(response);

for (const then of ["end", "cut"]) {
  test(`a stream that is ${then} before done resumes after its last event`, async () => {
    const { client, requests } = await scripted([streamed(contentFrames(1, 2), then), ended]);
    const events = await collect(client.stream({ input: "x", org_id: "acme" }));
    assert.deepEqual(numbers(events), [0, 1, 2, 0, 3, 98, 99]);
    const { method, url, headers } = requests[1];
    assert.equal(`${method} ${url}`, "GET /api/v1/agent/runs/r/events?org_id=acme");
    assert.equal(headers["last-event-id"], "r:2");
  });
}

test("at every cut point, no event is lost and none is repeated", async () => {
  const head = contentFrames();
  const frames = [1, 2, 3, 4].map((n) => frame("content", n, { content: `– ${n} 🍎` }));
  frames.push(frame("complete", 5), frame("done", 6));
  const rest = (after) => Buffer.from(head + frames.slice(after).join(""));
  const cutAt = async (size) => {
    const { client } = await scripted([
      streamed(rest(0).subarray(0, size), "cut", { "X-Run-Id": "r" }),
      (response, { headers }) => {
        const after = Number((headers["last-event-id"] ?? "r:0").split(":")[1]);
        streamed(rest(after))(response);
      },
    ]);
    const events = await collect(client.stream({ input: "x" }));
    const logged = events.filter(({ type }) => type !== "connected");
    assert.deepEqual(numbers(logged), [1, 2, 3, 4, 5, 6], `cut at ${size}`);
    assert.equal(logged[3].data.content, "– 4 🍎");
  };
  await Promise.all(Array.from(rest(0), (_, size) => cutAt(size)));
});

test("repeated events are dropped, and numbers can have gaps", async () => {
  const { client } = await scripted([
    streamed(contentFrames(1, 2, 40), "cut"),
    streamed(contentFrames(1, 2, 40, 1041) + DONE.replaceAll("r:9", "r:209")),
  ]);
  const events = await collect(client.stream({ input: "x" }));
  assert.deepEqual(numbers(events), [0, 1, 2, 40, 0, 1041, 2098, 2099]);
});

test("a request without a response is repeated with the same key and body", async () => {
  const { client, requests } = await scripted([drop, drop, ended]);
  const request = { input: "x", context: { plan: "pro" } };
  assert.deepEqual(numbers(await collect(client.stream(request))), [0, 3, 98, 99]);
  assert.deepEqual(requests.map(({ method }) => method), ["POST", "POST", "POST"]);
  const [keys, bodies] = ["idempotency-key", "body"].map(
    (name) => new Set(requests.map((sent) => JSON.stringify(sent.headers[name] ?? sent[name]))),
  );
  assert.deepEqual([keys.size, bodies.size], [1, 1]);
  assert.match([...keys][0], /[0-9a-f-]{32,}/);
});

test("every stream has a key of its own, also without randomUUID", async (context) => {
  const { client, requests } = await scripted([streamed(contentFrames() + DONE)]);
  await collect(client.stream({ input: "x" }));
  Object.defineProperty(crypto, "randomUUID", { value: undefined, configurable: true });
  context.after(() => delete crypto.randomUUID);
  await collect(client.stream({ input: "x" }));
  await collect(client.stream({ input: "x" }));
  await collect(client.stream({ input: "x" }, { idempotencyKey: "mine" }));
  const keys = requests.map(({ headers }) => headers["idempotency-key"]);
  assert.equal(new Set(keys).size, 4);
  assert.deepEqual(keys.map((key) => key.length), [36, 32, 32, 4]);
});

test("a run whose id is known before its first event is resumed, not started again", async () => {
  const { client, requests } = await scripted([
    streamed("retry: 10\n", "cut", { "X-Run-Id": "r" }),
    ended,
  ]);
  await collect(client.stream({ input: "x" }));
  assert.equal(requests[1].url, "/api/v1/agent/runs/r/events?org_id=default");
  assert.equal(requests[1].headers["last-event-id"], undefined);
});

for (const status of [429, 502, 503, 504]) {
  test(`${status} is retried, before the run starts and later`, async () => {
    const busy = json(status, { error: "Later.", code: "x" });
    const { client, requests } = await scripted([busy, streamed(contentFrames(1), "cut"), busy, ended]);
    const stream = client.stream({ input: "x" }, { onState: () => stream.retryNow() });
    assert.deepEqual(numbers(await collect(stream)), [0, 1, 0, 3, 98, 99]);
    assert.deepEqual(requests.map(({ method }) => method), ["POST", "POST", "GET", "GET"]);
  });
}

test("a proxy's page instead of an error is retried too", async () => {
  const page = (status) => (response) =>
    response.writeHead(status, { "Content-Type": "text/html" }).end("<h1>Bad Gateway</h1>");
  const begun = streamed(contentFrames(1), "cut");
  const { client } = await scripted([page(502), begun, page(502), page(504), ended]);
  const stream = client.stream({ input: "x" }, { onState: () => stream.retryNow() });
  assert.deepEqual(numbers(await collect(stream)), [0, 1, 0, 3, 98, 99]);
});

test("a server error while a run is followed is retried", async () => {
  const broken = json(500, { error: "Oh.", code: "internal_error" });
  const { client } = await scripted([streamed(contentFrames(1), "cut"), broken, ended]);
  assert.deepEqual(numbers(await collect(client.stream({ input: "x" }))), [0, 1, 0, 3, 98, 99]);
});

for (const status of [400, 401, 404]) {
  test(`${status} ends a stream that resumes`, async () => {
    const states = [];
    const { client } = await scripted([
      streamed(contentFrames(1), "cut"),
      json(status, { error: "Gone.", code: "gone" }),
    ]);
    const onState = ({ state, error }) => states.push([state, error?.code]);
    const all = collect(client.stream({ input: "x" }, { onState }));
    await assert.rejects(all, { status, code: "gone", message: "Gone." });
    assert.deepEqual(states.at(-1), ["ended", "gone"]);
  });
}

test("Retry-After is a lower bound, in seconds or as a date; retryNow ends the wait", async () => {
  for (const after of ["600", new Date(Date.now() + 600_000).toUTCString()]) {
    let status;
    const { client } = await scripted([json(503, {}, { "Retry-After": after }), ended]);
    const onState = (current) => (status = current);
    const stream = client.stream({ input: "x" }, { onState });
    await until(() => status?.retryAt);
    assert.ok(status.retryAt > Date.now() + 500_000);
    assert.ok(status.error.retryAfter > 590 && status.error.retryable);
    stream.retryNow();
    await collect(stream);
  }
});

test("attempts in a row are limited, and each event resets their number", async () => {
  const progress = (number) => streamed(contentFrames(number), "cut");
  const { client, requests } = await scripted([
    progress(1), drop, progress(2), drop, progress(3), drop, drop, drop,
  ]);
  const events = [];
  const all = collect(client.stream({ input: "x" }, { maxAttempts: 2 }), (e) => events.push(e));
  await assert.rejects(all, { code: "unreachable", retryable: true });
  assert.deepEqual(numbers(events), [0, 1, 0, 2, 0, 3]);
  assert.equal(requests.length, 7);
});

test("a silent connection is replaced by a new one", async () => {
  const states = [];
  const { client } = await scripted([streamed(contentFrames(1), "open"), () => {}, ended]);
  const options = { silenceMs: 1000, onState: ({ error }) => states.push(error?.code) };
  const events = await collect(client.stream({ input: "x" }, options));
  assert.deepEqual(numbers(events), [0, 1, 0, 3, 98, 99]);
  assert.ok(states.includes("connection_lost"));
});

test("after a laptop's sleep a dead connection is replaced immediately", async (context) => {
  const { client } = await scripted([streamed(contentFrames(1), "open"), ended]);
  const stream = client.stream({ input: "x" }, { silenceMs: 10_000 });
  const now = Date.now;
  let slept = 0;
  context.mock.method(Date, "now", () => now() + slept);
  const events = await collect(stream, ({ id }) => {
    if (id === "r:1") setTimeout(() => (slept = 3_600_000), 20);
  });
  assert.deepEqual(numbers(events), [0, 1, 0, 3, 98, 99]);
});

test("heartbeats keep a connection open", async (context) => {
  let clock = 1;
  context.mock.method(Date, "now", () => clock);
  const { client, requests } = await scripted([
    (response) => {
      streamed(contentFrames(1), "open")(response);
      const beat = setInterval(() => {
        clock += 40_000;
        if (clock < 400_000) return response.write(": keep-alive\n\n");
        clearInterval(beat);
        response.end(DONE);
      }, 20);
    },
  ]);
  assert.deepEqual(numbers(await collect(client.stream({ input: "x" }))), [0, 1, 98, 99]);
  assert.equal(requests.length, 1);
});

test("a slow loop does not count as a dead connection", async () => {
  const { client, requests } = await scripted([streamed(contentFrames(1, 2) + DONE)]);
  for await (const { id } of client.stream({ input: "x" }, { silenceMs: 1000 })) {
    if (id === "r:1") await new Promise((resolve) => setTimeout(resolve, 1500));
  }
  assert.equal(requests.length, 1);
});

test("pausing takes effect within a chunk, and resuming continues there", async () => {
  const { client, requests } = await scripted([
    streamed(contentFrames(1, 2, 3, 4, 5), "open"),
    streamed(contentFrames(3, 4, 5) + DONE),
  ]);
  const states = [];
  const stream = client.stream({ input: "x" }, { onState: ({ state }) => states.push(state) });
  const seen = [];
  const all = collect(stream, ({ id }) => {
    seen.push(id);
    if (id === "r:2") stream.pause();
  });
  await until(() => stream.state === "paused");
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.deepEqual(seen, ["", "r:1", "r:2"]);
  assert.equal(requests.length, 1);
  stream.resume();
  assert.deepEqual(numbers(await all), [0, 1, 2, 0, 3, 4, 5, 98, 99]);
  assert.equal(requests[1].headers["last-event-id"], "r:2");
  assert.deepEqual(states, ["connecting", "streaming", "paused", "connecting", "streaming", "ended"]);
});

test("pausing before the response loses no event and starts no second run", async () => {
  const { client, requests } = await scripted([() => {}, ended]);
  const stream = client.stream({ input: "x" });
  const all = collect(stream);
  await until(() => requests.length);
  stream.pause();
  stream.pause();
  stream.resume();
  stream.resume();
  assert.deepEqual(numbers(await all), [0, 3, 98, 99]);
  const keys = requests.map(({ headers }) => headers["idempotency-key"]);
  assert.equal(keys.length, 2);
  assert.equal(keys[0], keys[1]);
});

/**
 * A server of one run, which streams until it is cancelled. Like a browser with six open
 * streams, it accepts the request to cancel only after the stream's connection is closed.
 */
function cancellable({ begin = (respond) => respond(), before = [] } = {}) {
  let closed = Promise.resolve();
  return async (response, { method, url }) => {
    if (url.includes("/cancel")) {
      await closed;
      if (before.length) return before.shift()(response);
      json(202, { run_id: "r", status: "cancelled" })(response);
    } else if (method === "GET") streamed(contentFrames(3) + DONE)(response);
    else {
      closed = once(response, "close");
      begin(() => streamed(contentFrames(1), "open", { "X-Run-Id": "r" })(response));
    }
  };
}

const cancels = (requests) => requests.filter(({ url }) => url.includes("/cancel"));

test("cancelling closes the connection, and the stream continues to its end", async () => {
  const { client, requests } = await scripted([cancellable()]);
  const stream = client.stream({ input: "x", org_id: "acme" });
  const all = collect(stream, ({ id }) => {
    if (id === "r:1") Promise.all([stream.cancel(), stream.cancel()]);
  });
  assert.deepEqual(numbers(await all), [0, 1, 0, 3, 98, 99]);
  assert.equal(requests.at(-1).headers["last-event-id"], "r:1");
  const urls = cancels(requests).map(({ method, url }) => `${method} ${url}`);
  assert.deepEqual(urls, ["POST /api/v1/agent/runs/r/cancel?org_id=acme"]);
});

test("a run is cancelled as soon as its id is known", async () => {
  let respond;
  const { client, requests } = await scripted([cancellable({ begin: (go) => (respond = go) })]);
  const stream = client.stream({ input: "x" });
  const cancelled = stream.cancel();
  const all = collect(stream);
  await until(() => respond);
  assert.deepEqual(cancels(requests), []);
  respond();
  assert.equal((await cancelled).status, "cancelled");
  assert.deepEqual(numbers(await all).slice(-3), [3, 98, 99]);
});

test("cancelling a paused stream continues to its end", async () => {
  const { client } = await scripted([cancellable()]);
  const stream = client.stream({ input: "x" });
  const all = collect(stream, ({ id }) => id === "r:1" && stream.pause());
  await until(() => stream.state === "paused");
  await stream.cancel();
  assert.deepEqual(numbers(await all), [0, 1, 0, 3, 98, 99]);
});

test("a cancel is retried while the server is unavailable", async () => {
  const { client, requests } = await scripted([cancellable({ before: [drop, json(503, {})] })]);
  const stream = client.stream({ input: "x" }, { onState: () => stream.retryNow() });
  const all = collect(stream, ({ id }) => id === "r:1" && stream.cancel());
  assert.deepEqual(numbers(await all), [0, 1, 0, 3, 98, 99]);
  assert.equal(cancels(requests).length, 3);
});

test("a rejected cancel throws, and can be repeated", async () => {
  const refusal = json(404, { error: "No run.", code: "not_found" });
  const { client } = await scripted([cancellable({ before: [refusal] })]);
  const stream = client.stream({ input: "x" });
  const all = collect(stream);
  await assert.rejects(stream.cancel(), { code: "not_found" });
  await stream.cancel();
  await all;
});

test("without a run there is nothing to cancel", async () => {
  const { client, requests } = await scripted([json(400, { error: "No.", code: "x" })]);
  const stream = client.stream({ input: "" });
  assert.equal(await stream.cancel(), undefined);
  await assert.rejects(collect(stream), { code: "x" });
  assert.equal(requests.length, 1);
});

test("the headers function is called for each request, and its network failures are retried", async () => {
  let token = 0;
  const headers = async () => {
    token += 1;
    if (token === 2) throw new TypeError("fetch failed");
    return { Authorization: `Bearer ${token}` };
  };
  const { client, requests } = await scripted([streamed(contentFrames(1), "cut"), ended], { headers });
  await collect(client.stream({ input: "x" }));
  const sent = requests.map(({ headers }) => headers.authorization);
  assert.deepEqual(sent, ["Bearer 1", "Bearer 3"]);
});

test("errors of the caller are thrown and not retried", async () => {
  for (const headers of [{ Authorization: "a\nb" }, () => Promise.reject(new Error("no"))]) {
    const { client, requests } = await scripted([ended], { headers });
    await assert.rejects(collect(client.stream({ input: "x" })), (error) => {
      return !("code" in error);
    });
    assert.equal(requests.length, 0);
  }
});

test("delays grow, vary, are bounded, and respect the server", () => {
  const range = (...about) => {
    const waits = Array.from({ length: 500 }, () => delayMs(...about));
    assert.ok(new Set(waits).size > 100);
    return [Math.min(...waits), Math.max(...waits)];
  };
  for (const [about, low, high] of [
    [[1, 1000], 500, 1000],
    [[3, 1000], 2000, 4000],
    [[50, 1000], 15_000, 30_000],
    [[1, 0], 50, 100],
    [[1, 1000, 60], 60_000, 61_000],
  ]) {
    const [least, most] = range(...about);
    assert.ok(low <= least && most <= high, `${about}: ${least} to ${most}`);
  }
});
