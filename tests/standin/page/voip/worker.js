// The line to the far end, in a thread of its own: 20 ms frames of 16 kHz s16 both ways over one WebSocket (160 ms in the
// far end's first), each with a header of 16 bytes: first sample's number (u32), zero (u32), sender's wall clock in ms
// (f64). Little endian.
//
// Towards the page there is a jitter buffer in the playback ring. The far end's first message is
// its first depth; it may grow to the ring's 512 ms where the page's audio clock loses time. What counts from then on
// is how low it ran in the last second: less than LOW and it gets more silence, more than HIGH and it loses some, both
// only while nobody speaks, so that a tone is never touched. Where it runs dry it starts again with AGAIN of silence; if
// somebody was speaking, that gap is counted as an underrun.
"use strict";

const FRAME = 320; // 20 ms
const AGAIN = 1600; // 100 ms
const LOW = 960; // 60 ms of margin for a loaded machine
const HIGH = 3520; // 220 ms
const WINDOW = 50; // frames: one second

const lines = new Map();
const MOST_UNSENT = 64;
const unsent = [];
const counts = { underruns: 0, dropped: 0, overruns: 0 };
let socket = null;
let open = false;
let setup = null;
let captured = 0;
let begun = false;
let spoke = false;
let lowest = Infinity;
let watched = -1; // the first finds an empty ring

function ringAt(offset) {
  return {
    positions: new Uint32Array(setup.heap, offset, 2),
    signal: new Int32Array(setup.heap, offset, 1),
    samples: new Float32Array(setup.heap, offset + 8, setup.ringFrames),
  };
}

function fill(ring) {
  const size = ring.samples.length;
  return (Atomics.load(ring.positions, 0) - Atomics.load(ring.positions, 1) + size) % size;
}

function push(ring, samples) {
  const size = ring.samples.length;
  let write = Atomics.load(ring.positions, 0);
  for (let index = 0; index < samples.length; index++) {
    ring.samples[write] = samples[index];
    write = (write + 1) % size;
  }
  Atomics.store(ring.positions, 0, write);
}

function play(ring, data) {
  const pcm = new Int16Array(data, 16);
  const samples = new Float32Array(pcm.length);
  let silent = true;
  for (let index = 0; index < pcm.length; index++) {
    samples[index] = pcm[index] / 32768;
    silent &&= pcm[index] === 0;
  }
  const held = fill(ring);
  watched += 1;
  if (watched > 0) {
    lowest = Math.min(lowest, held);
  }
  if (held === 0 && begun) {
    if (spoke) {
      counts.underruns += 1;
      report();
    }
    push(ring, new Float32Array(AGAIN));
  } else if (held + pcm.length >= ring.samples.length) {
    counts.dropped += 1;
    report();
    return;
  } else if (silent && watched >= WINDOW && (lowest < LOW || lowest > HIGH)) {
    const excess = lowest > HIGH;
    lowest = Infinity;
    watched = 0;
    if (excess) {
      return;
    }
    push(ring, new Float32Array(LOW));
  }
  if (watched >= 2 * WINDOW) {
    lowest = held;
    watched = 0;
  }
  begun = true;
  spoke = !silent;
  push(ring, samples);
}

function sendFrame(ring) {
  const size = ring.samples.length;
  const data = new ArrayBuffer(16 + 2 * FRAME);
  const header = new DataView(data);
  header.setUint32(0, captured, true);
  header.setFloat64(8, Date.now(), true);
  const pcm = new Int16Array(data, 16);
  let read = Atomics.load(ring.positions, 1);
  for (let index = 0; index < FRAME; index++) {
    pcm[index] = Math.max(-32768, Math.min(32767, Math.round(ring.samples[read] * 32768)));
    read = (read + 1) % size;
  }
  Atomics.store(ring.positions, 1, read);
  captured += FRAME;
  if (socket.readyState === WebSocket.OPEN) {
    socket.send(data);
  }
}

async function pumpCapture() {
  const ring = ringAt(setup.captureOffset);
  while (open) {
    while (fill(ring) >= FRAME) {
      sendFrame(ring);
    }
    const seen = Atomics.load(ring.signal, 0);
    if (fill(ring) < FRAME) {
      const wait = Atomics.waitAsync(ring.signal, 0, seen, 100);
      await wait.value;
    }
  }
}

// The microphone may be heard before the line to the far end is open: what is noted of it waits.
function send(message) {
  if (socket?.readyState === WebSocket.OPEN) {
    socket.send(JSON.stringify(message));
  } else if (socket?.readyState === WebSocket.CONNECTING && unsent.length < MOST_UNSENT) {
    unsent.push(message);
  }
}

function report() {
  send({ type: "counts", ...counts });
}

function receiveText(message) {
  if (message.type === "ping") {
    const port = lines.get(setup.playbackOffset);
    if (port) {
      port.postMessage({ type: "pong", number: message.number });
    } else {
      send({ type: "pong", number: message.number });
    }
  }
}

function openLine() {
  const ring = ringAt(setup.playbackOffset);
  socket = new WebSocket(setup.url);
  socket.binaryType = "arraybuffer";
  open = true;
  socket.onopen = () => {
    unsent.splice(0).forEach(send);
    postMessage({ type: "connected" });
    pumpCapture();
  };
  socket.onmessage = (event) => {
    if (typeof event.data === "string") {
      receiveText(JSON.parse(event.data));
    } else if (lines.has(setup.playbackOffset)) {
      play(ring, event.data);
    }
  };
  socket.onclose = () => {
    open = false;
  };
}

onmessage = (event) => {
  const message = event.data;
  if (message.type === "open") {
    setup = message;
    openLine();
  } else if (message.type === "line") {
    lines.set(message.offset, message.port);
    message.port.onmessage = (given) => {
      if (given.data.type === "overrun") {
        counts.overruns = given.data.count;
        report();
      } else {
        send({ ...given.data, workerMs: Date.now() });
      }
    };
  } else if (message.type === "close") {
    open = false;
    socket?.close();
    close();
  }
};
