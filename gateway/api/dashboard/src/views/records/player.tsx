import { useEffect, useRef, useState } from 'preact/hooks';
import { useTongue } from '../../i18n/index.tsx';
import { Notice } from '../../ui/index.tsx';
import { span } from '../words.ts';
import { decodingRate, gainOf, type Peak, peaksOf, seek } from './waveform.ts';

/** Columns that are kept: more than any screen shows at once, so that a wider window needs no second decoding. */
const COLUMNS = 2000;

type Picture = 'decoding' | 'too_long' | 'undecodable' | readonly (readonly Peak[])[];

/** The recording as sound and as a picture in which to go about; left is WhatsApp, right the phone. */
export function Player({ url, sound, durationS }: { url: string; sound: Blob; durationS: number }) {
  const { t } = useTongue();
  const audio = useRef<HTMLAudioElement>(null);
  const [at, setAt] = useState(0);
  const [length, setLength] = useState(durationS);
  const picture = usePicture(sound, durationS);
  const to = (seconds: number | null): void => {
    if (seconds === null || audio.current === null) return;
    audio.current.currentTime = Math.min(seconds, length);
    setAt(audio.current.currentTime);
  };
  return (
    <div class="player">
      <audio
        ref={audio}
        src={url}
        controls
        preload="auto"
        onTimeUpdate={(event) => setAt(event.currentTarget.currentTime)}
        onSeeked={(event) => setAt(event.currentTarget.currentTime)}
        onLoadedMetadata={(event) => {
          if (Number.isFinite(event.currentTarget.duration)) setLength(event.currentTarget.duration);
        }}
      />
      {picture === 'decoding' && <p role="status">{t('player.decoding')}</p>}
      {picture === 'too_long' && <Notice>{t('player.too_long')}</Notice>}
      {picture === 'undecodable' && <Notice>{t('player.undecodable')}</Notice>}
      {typeof picture !== 'string' && (
        <div class="waves">
          <div class="wave-names">
            <span>{t('player.whatsapp')}</span>
            <span>{t('player.phone')}</span>
          </div>
          <div
            class="wave"
            role="slider"
            tabIndex={0}
            aria-label={t('player.position')}
            aria-valuemin={0}
            aria-valuemax={Math.round(length)}
            aria-valuenow={Math.round(Math.min(at, length))}
            aria-valuetext={t('player.at', { at: span(at), length: span(length) })}
            onKeyDown={(event) => {
              const target = seek(event.key, at, length);
              if (target === null) return;
              event.preventDefault();
              to(target);
            }}
            onClick={(event) => {
              const box = event.currentTarget.getBoundingClientRect();
              to(((event.clientX - box.left) / box.width) * length);
            }}
          >
            <Waves channels={picture} />
            <div class="wave-now" style={{ left: `${length > 0 ? (at / length) * 100 : 0}%` }} />
          </div>
        </div>
      )}
    </div>
  );
}

function usePicture(sound: Blob, durationS: number): Picture {
  const [picture, setPicture] = useState<Picture>('decoding');
  useEffect(() => {
    let here = true;
    const rate = decodingRate(durationS);
    if (rate === null) {
      setPicture('too_long');
      return undefined;
    }
    void decode(sound, rate).then(
      (channels) => here && setPicture(channels),
      () => here && setPicture('undecodable'),
    );
    return () => {
      here = false;
    };
  }, [sound, durationS]);
  return picture;
}

async function decode(sound: Blob, rateHz: number): Promise<Peak[][]> {
  // this context is never played: it is how browsers decode to a rate of one's choice
  const decoded = await new OfflineAudioContext(2, 1, rateHz).decodeAudioData(await sound.arrayBuffer());
  const channels = Array.from({ length: decoded.numberOfChannels }, (_, index) => decoded.getChannelData(index));
  return channels.map((samples) => peaksOf(samples, COLUMNS));
}

function Waves({ channels }: { channels: readonly (readonly Peak[])[] }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const here = canvas.current;
    if (here === null) return undefined;
    const redraw = (): void => draw(here, channels);
    const sizes = new ResizeObserver(redraw); // also once at the beginning
    sizes.observe(here);
    const dark = matchMedia('(prefers-color-scheme: dark)');
    dark.addEventListener('change', redraw);
    const theme = new MutationObserver(redraw);
    theme.observe(document.documentElement, { attributeFilter: ['data-theme'] });
    return () => {
      sizes.disconnect();
      theme.disconnect();
      dark.removeEventListener('change', redraw);
    };
  }, [channels]);
  return <canvas ref={canvas} aria-hidden="true" />;
}

/** One lane a channel, one above the other, in the colour of the text. */
function draw(canvas: HTMLCanvasElement, channels: readonly (readonly Peak[])[]): void {
  const scale = devicePixelRatio || 1;
  const width = Math.max(1, Math.round(canvas.clientWidth * scale));
  const height = Math.max(1, Math.round(canvas.clientHeight * scale));
  canvas.width = width;
  canvas.height = height;
  const paint = canvas.getContext('2d');
  if (paint === null) return;
  paint.fillStyle = getComputedStyle(canvas).color;
  const gain = gainOf(channels);
  const lane = height / channels.length;
  channels.forEach((peaks, channel) => {
    const middle = lane * (channel + 0.5);
    for (let x = 0; x < width; x += 1) {
      const begin = Math.floor((x * peaks.length) / width);
      const end = Math.max(begin + 1, Math.floor(((x + 1) * peaks.length) / width));
      let low = 0;
      let high = 0;
      for (const peak of peaks.slice(begin, end)) {
        low = Math.min(low, peak.low);
        high = Math.max(high, peak.high);
      }
      const top = middle - high * gain * (lane / 2);
      const bottom = middle - low * gain * (lane / 2);
      paint.fillRect(x, top, 1, Math.max(1, bottom - top)); // silence is a line
    }
  });
}
