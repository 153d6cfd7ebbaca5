/** `/live`: the calls in progress, how they sound, and what can be done to them. */
import { useState } from 'preact/hooks';
import type { CallView, Ending, LiveCalls } from '../../api.gen.ts';
import { useApp, useEvents, useLoad, useTicker } from '../../app.tsx';
import { useTongue } from '../../i18n/index.tsx';
import { href } from '../../router.ts';
import { Busy, Fault, Notice, Title } from '../../ui/index.tsx';
import { End } from '../ending.tsx';
import { LiveCall } from './call.tsx';

const WITH_CALLS_MS = 1000; // the figures are of the last second

interface Over {
  id: string;
  ending: Ending;
}

export function Live() {
  const { t } = useTongue();
  const { api } = useApp();
  const { data, error, loading, reload, set } = useLoad((signal) => api.get<LiveCalls>('/call', { signal }), []);
  const [over, setOver] = useState<Over | null>(null);
  useEvents(
    ['call.incoming', 'call.state', 'call.ended', 'call.recording', 'audio.one_way'],
    (event) => {
      if (event.type === 'call.ended') {
        const { call_id: id, result, reason, sip_status, q850_cause } = event.data;
        setOver({ id, ending: { result, reason, sip_status, q850_cause } });
      } else if (event.type === 'call.state') setOver((before) => (before?.id === event.data.call_id ? before : null));
      reload();
    },
    reload,
  );
  // Without calls events tell when there is something to see.
  useTicker(() => {
    if (!loading && (data === null || data.calls.length > 0)) reload();
  }, WITH_CALLS_MS);
  const change = (call: CallView) =>
    set({ calls: (data?.calls ?? []).map((one) => (one.id === call.id ? call : one)).filter((one) => one.state !== 'ENDED') });
  return (
    <>
      <Title>{t('nav.live')}</Title>
      <Fault error={error} />
      {over && (
        <Notice>
          {t('live.ended')} <End ending={over.ending} /> <a href={href(`/calls/${over.id}`)}>{t('live.record')}</a>
        </Notice>
      )}
      {data === null && error === null && <Busy />}
      {data?.calls.length === 0 && <p>{t('live.none')}</p>}
      {data?.calls.map((call) => <LiveCall key={call.id} call={call} onChange={change} />)}
    </>
  );
}
