// The audio of one call. Two AudioContexts of 16 kHz, made anew for each call and closed at its end: one takes the
// microphone to a worklet that writes a ring in shared memory, the other plays a ring through
// `voip-shared-buffer-playback-processor`. A worker stands at the other side of both rings and holds the line to the
// far end, so that this thread is never in the audio's path.
__d("WAWebVoipCallAudio", ["WAWebVoipAcquireMediaStream", "WAWebScriptUrl"], function (t, n, r, o, a, i, l) {
  const SAMPLE_RATE_HZ = 16000;
  const RING_FRAMES = 8192; // 512 ms
  const RING_BYTES = 8 + RING_FRAMES * Float32Array.BYTES_PER_ELEMENT; // write and read position, then the samples
  const CAPTURE_OFFSET = 0;
  const PLAYBACK_OFFSET = RING_BYTES;

  const ready = (node) =>
    new Promise((resolve, reject) => {
      const patience = setTimeout(() => reject(new Error("audio processor not ready in 5 s")), 5000);
      node.port.onmessage = (event) => {
        if (event.data?.type === "ready") {
          clearTimeout(patience);
          resolve();
        }
      };
    });

  class CallAudio {
    constructor(callId, onConnected) {
      this.heap = new SharedArrayBuffer(2 * RING_BYTES);
      this.worker = new Worker(o("WAWebScriptUrl").scriptUrl("/static/voip/worker.js"));
      this.closed = false;
      this.worker.onmessage = (event) => {
        if (event.data.type === "connected" && !this.closed) {
          onConnected();
        }
      };
      this.worker.postMessage({
        type: "open",
        url: `wss://${location.host}/ws/voip?call=${callId}`,
        heap: this.heap,
        ringFrames: RING_FRAMES,
        captureOffset: CAPTURE_OFFSET,
        playbackOffset: PLAYBACK_OFFSET,
      });
    }

    async start() {
      const media = o("WAWebVoipAcquireMediaStream");
      const deviceId = await media.checkVoipDevicePermissions();
      // The device list has labels only once a microphone was open: it is opened again to learn which one to take.
      media.release(await media.getMicrophone({ deviceId, echoCancellation: true, noiseSuppression: true }));
      this.stream = await media.getMicrophone({
        deviceId,
        channelCount: 1,
        sampleRate: SAMPLE_RATE_HZ,
        echoCancellation: true,
        noiseSuppression: true,
        autoGainControl: true,
      });
      this.checkOpen();
      await Promise.all([this.startPlayback(), this.startCapture()]);
    }

    checkOpen() {
      if (this.closed) {
        throw new DOMException("the call ended meanwhile", "AbortError");
      }
    }

    async startContext(module) {
      const context = new AudioContext({ sampleRate: SAMPLE_RATE_HZ, latencyHint: "interactive" });
      (this.contexts ??= []).push(context);
      const loading = context.audioWorklet.addModule(module);
      if (context.state === "suspended") {
        await context.resume(); // without a user's gesture this never comes back
      }
      await loading;
      this.checkOpen();
      return context;
    }

    async wire(node, offset) {
      await ready(node);
      const { port1, port2 } = new MessageChannel();
      this.worker.postMessage({ type: "line", offset, port: port1 }, [port1]);
      node.port.postMessage(
        {
          type: "initSharedBuffer",
          heapBuffer: this.heap,
          heapBufferOffset: offset,
          bufferSize: RING_FRAMES,
          targetSampleRate: SAMPLE_RATE_HZ,
          line: port2,
        },
        [port2],
      );
      node.port.postMessage({ type: "start" });
    }

    async startPlayback() {
      const context = await this.startContext("/static/voip/playback-processor.js");
      const node = new AudioWorkletNode(context, "voip-shared-buffer-playback-processor", {
        numberOfInputs: 0,
        numberOfOutputs: 1,
        outputChannelCount: [1],
      });
      await this.wire(node, PLAYBACK_OFFSET);
      if (o("WAWebABProps").getABPropConfigValue("web_voip_audio_playback_use_media_element_output")) {
        const destination = context.createMediaStreamDestination();
        node.connect(destination);
        this.element = new Audio();
        this.element.srcObject = destination.stream;
        await this.element.play();
      } else {
        node.connect(context.destination);
      }
    }

    async startCapture() {
      const context = await this.startContext("/static/voip/capture-processor.js");
      const source = context.createMediaStreamSource(this.stream);
      const node = new AudioWorkletNode(context, "voip-shared-buffer-capture-processor", {
        numberOfInputs: 1,
        numberOfOutputs: 0,
      });
      await this.wire(node, CAPTURE_OFFSET);
      source.connect(node);
      this.source = source;
    }

    close() {
      if (this.closed) {
        return;
      }
      this.closed = true;
      this.worker.postMessage({ type: "close" });
      this.source?.disconnect();
      if (this.stream) {
        o("WAWebVoipAcquireMediaStream").release(this.stream);
      }
      if (this.element) {
        this.element.pause();
        this.element.srcObject = null;
      }
      for (const context of this.contexts ?? []) {
        context.close().catch(() => undefined);
      }
    }

    describe() {
      return { contexts: (this.contexts ?? []).map((context) => context.state) };
    }
  }
  l.CallAudio = CallAudio;
});
