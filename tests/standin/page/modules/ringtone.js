// What the page itself makes heard beside a call: ring tone, message sounds, the tone at the end.
// None of it belongs to the call, and each has frequencies of its own so that it can be told from the call's audio.
__d("WAWebCallRingtone", ["WAWebServerLink"], function (t, n, r, o, a, i, l) {
  let ringtone = null;
  let blocked = 0;

  function startCallRingtone() {
    stopCallRingtone();
    const audio = new Audio("/static/sounds/ring.wav");
    audio.loop = true;
    ringtone = audio;
    audio.play().catch(() => {
      blocked += 1; // no user gesture yet: the browser forbids it and the page rings silently
    });
  }

  function stopCallRingtone() {
    ringtone?.pause();
    ringtone = null;
  }

  l.startCallRingtone = startCallRingtone;
  l.stopCallRingtone = stopCallRingtone;
  l.describe = () => ({ playing: ringtone !== null && !ringtone.paused, blocked });
});

__d("WAWebCallEndTone", [], function (t, n, r, o, a, i, l) {
  l.playCallEndTone = () => {
    new Audio("/static/sounds/end.wav").play().catch(() => undefined);
  };
});

__d("WAWebMessageSound", [], function (t, n, r, o, a, i, l) {
  let context = null;
  let buffer = null;
  let played = 0;

  async function playSent() {
    context ??= new AudioContext();
    buffer ??= context.decodeAudioData(await (await fetch("/static/sounds/sent.wav")).arrayBuffer());
    const source = new AudioBufferSourceNode(context, { buffer: await buffer });
    source.connect(context.destination);
    source.start();
  }

  // A message that comes in sounds through a media element, one that goes out through Web Audio.
  l.play = () => {
    played += 1;
    if (played % 2 === 1) {
      new Audio("/static/sounds/received.wav").play().catch(() => undefined);
    } else {
      playSent().catch(() => undefined);
    }
  };
  l.describe = () => ({ played });
});
