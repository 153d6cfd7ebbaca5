/** A call's ladder: what SIP and the page said, on one time line. One list, which a screen reader reads line by line. */
import type { Lane, TraceKind, TraceView } from '../../api.gen.ts';
import { useApp, useEvents, useLoad } from '../../app.tsx';
import { type PlainKey, useTongue } from '../../i18n/index.tsx';
import { Busy, Card, Fault, Notice } from '../../ui/index.tsx';
import { clock, LANE_AT, LANES, type Row, rowsOf } from './layout.ts';

const LANE: Readonly<Record<Lane, PlainKey>> = { pbx: 'lane.pbx', ponte: 'lane.ponte', page: 'lane.page' };
const KIND: Readonly<Record<TraceKind, PlainKey>> = {
  sip: 'ladder.kind.sip',
  page: 'ladder.kind.page',
  media: 'ladder.kind.media',
  call: 'ladder.kind.call',
};

export function Ladder({ callId }: { callId: string }) {
  const { t } = useTongue();
  const { api } = useApp();
  const { data, error, reload } = useLoad(
    (signal) => api.get<TraceView>(`/calls/${encodeURIComponent(callId)}/trace`, { signal }),
    [callId],
  );
  useEvents(['call.state', 'call.ended', 'call.recording', 'audio.one_way'], (event) => {
    if ('call_id' in event.data && event.data.call_id === callId) reload();
  });
  return (
    <Card title={t('ladder.title')}>
      <p>{t('ladder.lead')}</p>
      <Fault error={error} />
      {data === null && error === null && <Busy />}
      {data?.truncated && <Notice>{t('ladder.truncated')}</Notice>}
      {data?.entries.length === 0 && <p>{t('ladder.none')}</p>}
      {data !== null && data.entries.length > 0 && <Rungs trace={data} />}
    </Card>
  );
}

function Rungs({ trace }: { trace: TraceView }) {
  const { t } = useTongue();
  return (
    <div class="ladder">
      <div class="lanes" aria-hidden="true">
        <span class="rung-time">{t('ladder.seconds')}</span>
        <div class="rung-body">
          {LANES.map((lane) => (
            <span key={lane} class="lane" style={{ left: `${LANE_AT[lane]}%` }}>
              {t(LANE[lane])}
            </span>
          ))}
        </div>
      </div>
      <ol aria-label={t('ladder.title')}>
        {rowsOf(trace).map((row, index) => (
          <Rung key={index} row={row} />
        ))}
      </ol>
    </div>
  );
}

function Rung({ row: { entry, shape, mood, pause_ms, more } }: { row: Row }) {
  const { t, number } = useTongue();
  const middle = shape.form === 'arrow' ? shape.middle : shape.at;
  const where =
    shape.form === 'note'
      ? t('ladder.at', { lane: t(LANE[entry.from]) })
      : t('ladder.from_to', { from: t(LANE[entry.from]), to: t(LANE[entry.to]) });
  return (
    <li class={`rung ${entry.kind} ${mood}`}>
      {pause_ms !== null && (
        <div class="rung-body pause">
          <Poles />
          <span>{t('ladder.pause', { seconds: number(pause_ms / 1000, 1) })}</span>
        </div>
      )}
      <span class="rung-time">{clock(entry.at_ms)}</span>
      <div class="rung-body">
        <Poles />
        <svg class="rung-picture" aria-hidden="true" focusable="false">
          {shape.form === 'arrow' && <Arrow from={shape.from} to={shape.to} />}
          {shape.form === 'note' && <circle class="dot" cx={`${shape.at}%`} cy="26" r="4" />}
        </svg>
        <span
          class={`rung-text ${shape.form === 'note' ? `at-${entry.from}` : ''}`}
          style={{ left: `${middle}%` }}
        >
          <span class="unseen">{`${t(KIND[entry.kind])}, ${where}: `}</span>
          <span lang="en">{entry.text}</span>
        </span>
        {more !== '' && (
          <p class="rung-detail" lang="en" style={middle > 50 ? { marginLeft: `${2 * middle - 100}%` } : { width: `${2 * middle}%` }}>
            <span>{more}</span>
          </p>
        )}
      </div>
    </li>
  );
}

function Poles() {
  return (
    <svg class="rung-picture" aria-hidden="true" focusable="false">
      {LANES.map((lane) => (
        <line key={lane} class="pole" x1={`${LANE_AT[lane]}%`} x2={`${LANE_AT[lane]}%`} y1="0" y2="100%" />
      ))}
    </svg>
  );
}

/** A line with its head; percent positions keep it right at every width. */
function Arrow({ from, to }: { from: number; to: number }) {
  const back = to < from;
  return (
    <>
      <line class="shaft" x1={`${from}%`} x2={`${to}%`} y1="26" y2="26" />
      <svg x={`${to}%`} y="26" overflow="visible">
        <path class="head" d={back ? 'M0 0 L9 -5 L9 5 Z' : 'M0 0 L-9 -5 L-9 5 Z'} />
      </svg>
    </>
  );
}
