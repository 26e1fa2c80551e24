// Server-sent events by fetch, so that the token travels as a header. Reconnects with the last id, gently.

/** One block of a stream to {event, data, id}; null if it dispatches nothing. */
export function parseBlock(block) {
  const found = { event: "message", data: [], id: null, retry: null };
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    if (at === 0) continue;
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
    if (name === "data") found.data.push(value);
    else if (name === "event") found.event = value;
    else if (name === "id") found.id = value;
    else if (name === "retry" && /^\d+$/.test(value)) found.retry = Number(value);
  }
  return { ...found, data: found.data.length ? found.data.join("\n") : null };
}

/**
 * Follows a stream until `signal` is aborted.
 * on: {state(name, text), event(kind, data)}; state is wait, live or bad.
 */
export async function follow(path, headers, on, signal) {
  let last = null;
  let pause = 1000;
  while (!signal.aborted) {
    try {
      on.state("wait", "Connecting");
      const answer = await fetch(path, {
        headers: last ? { ...headers, "Last-Event-ID": last } : headers, signal, cache: "no-store",
      });
      if (answer.status === 401 || answer.status === 403) {
        on.state("bad", answer.status === 401 ? "The token is not valid" : "The token may not read all of these");
        return answer.status;
      }
      if (!answer.ok) throw new Error(`answer ${answer.status}`);
      on.state("live", "Live");
      let rest = "";
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) {
          const found = parseBlock(block);
          if (found.id !== null) last = found.id;
          if (found.retry !== null) pause = found.retry;
          if (found.data !== null) on.event(found.event, JSON.parse(found.data));
        }
      }
    } catch (error) {
      if (signal.aborted) break;
    }
    if (!signal.aborted) {
      on.state("wait", "Reconnecting");
      await new Promise((resolve) => setTimeout(resolve, pause * (0.7 + Math.random() * 0.6)));
      pause = Math.min(pause * 1.6, 15000);
    }
  }
  return 0;
}
