"""A small web site whose pages use audio in ways that WhatsApp Web does not, or not yet."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.integration.wasm_server.rig import serve

PROCESSORS: Final = """
// A sine of the given frequency and amplitude.
class Player extends AudioWorkletProcessor {
  constructor(options) {
    super();
    Object.assign(this, {hz: 500, amplitude: 0.1, at: 0, ...options.processorOptions});
  }
  process(_inputs, outputs) {
    for (const channel of outputs[0]) {
      for (let i = 0; i < channel.length; i++) {
        channel[i] = this.amplitude * Math.sin((2 * Math.PI * this.hz * (this.at + i)) / sampleRate);
      }
    }
    this.at += outputs[0][0].length;
    return true;
  }
}
registerProcessor("player", Player);
registerProcessor("some-playback-processor", class extends Player {});

// Tells level and zero crossings of each tenth of a second, the longest hole so far, and whether there was a channel.
class Listener extends AudioWorkletProcessor {
  constructor() {
    super();
    Object.assign(this, {hole: 0, longest: 0});
    this.port.onmessage = () => { this.longest = 0; };
    this.reset();
  }
  reset() {
    Object.assign(this, {energy: 0, count: 0, crossings: 0, empty: 0, step: 0});
  }
  process(inputs) {
    const [channel] = inputs[0];
    // A node may run before the connection that was made right after it.
    this.begun ||= channel !== undefined;
    if (!this.begun) return true;
    if (channel === undefined) {
      this.empty += 1;
      this.count += 128;
    }
    for (const sample of channel ?? []) {
      this.energy += sample * sample;
      this.crossings += this.last <= 0 && sample > 0 ? 1 : 0;
      this.step = Math.max(this.step, Math.abs(sample - (this.last ?? 0)));
      this.last = sample;
      this.count += 1;
      this.hole = Math.abs(sample) < 0.003 ? this.hole + 1 : 0;
      this.longest = Math.max(this.longest, this.hole);
    }
    if (this.count >= sampleRate / 10) {
      const dbfs = 10 * Math.log10((2 * this.energy) / this.count + 1e-12);
      const hz = (this.crossings * sampleRate) / this.count;
      const hole_ms = (1000 * this.longest) / sampleRate;
      this.port.postMessage({dbfs, hz, empty: this.empty, step: this.step, hole_ms});
      this.reset();
    }
    return true;
  }
}
registerProcessor("listener", Listener);
"""

SCRIPT: Final = """
// As a page does that has workers of its own. Without a policy the bundle gets no worker either.
if (new URLSearchParams(location.search).has("worker")) {
  globalThis.policy = trustedTypes.createPolicy("site", {
    createScriptURL(text) {
      if (text !== "/page.js") throw new TypeError("not a script of this site");
      return text;
    },
  });
}
globalThis.contexts = {};
globalThis.open = async (rate) => {
  const context = new AudioContext({sampleRate: rate});
  await context.audioWorklet.addModule("/processors.js");
  await context.resume();
  return context;
};
globalThis.play = (context, hz, amplitude, name = "player") =>
  new AudioWorkletNode(context, name, {
    numberOfInputs: 0, outputChannelCount: [1], processorOptions: {hz, amplitude},
  });
globalThis.heard = [];
globalThis.listen = (context, source) => {
  const node = new AudioWorkletNode(context, "listener", {numberOfOutputs: 0});
  node.port.onmessage = (event) => heard.push(event.data);
  source.connect(node);
  globalThis.listener = node;
  return node;
};
"""

# What a window does first: it keeps the browser's function, which therefore has to be ours by then.
POPOUT_SCRIPT: Final = """
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
globalThis.label = ask({audio: true}).then((stream) => stream.getAudioTracks()[0].label, (fault) => fault.name);
"""

# The page's script comes by src, and no policy of the page knows us.
POLICY: Final = "script-src 'self'; object-src 'none'; require-trusted-types-for 'script'"

ISOLATION: Final = {"cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp"}


def _site() -> Starlette:
    def page(request: Request) -> Response:
        policy = POLICY if "nowasm" in request.query_params else POLICY.replace("'self'", "'self' 'wasm-unsafe-eval'")
        text = "<!doctype html><title>site</title><script src=/page.js></script><p>page"
        headers = {"content-security-policy": policy, **(ISOLATION if "isolated" in request.query_params else {})}
        return Response(text, media_type="text/html", headers=headers)

    def popout(_request: Request) -> Response:
        text = "<!doctype html><title>popout</title><script src=/popout.js></script>"
        return Response(text, media_type="text/html", headers={"content-security-policy": POLICY})

    def popout_script(_request: Request) -> Response:
        return Response(POPOUT_SCRIPT, media_type="text/javascript")

    def plain(_request: Request) -> Response:
        headers = {"content-security-policy": POLICY.replace("'self'", "'self' 'wasm-unsafe-eval'")}
        return Response("<!doctype html><title>plain</title>", media_type="text/html", headers=headers)

    def script(_request: Request) -> Response:
        return Response(SCRIPT, media_type="text/javascript")

    def processors(_request: Request) -> Response:
        return Response(PROCESSORS, media_type="text/javascript")

    def missing(_request: Request) -> Response:
        return PlainTextResponse("no", status_code=404)

    return Starlette(
        routes=[
            Route("/", page), Route("/page.js", script), Route("/processors.js", processors),
            Route("/popout", popout), Route("/plain", plain), Route("/popout.js", popout_script),
            Route("/{rest}", missing),
        ]
    )  # fmt: skip


@contextlib.asynccontextmanager
async def site() -> AsyncIterator[str]:
    """Serve the site on a free loopback port; gives its address."""
    async with serve(_site()) as base_url:
        yield f"{base_url}/"
