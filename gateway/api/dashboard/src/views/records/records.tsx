/** `/calls`: the records of calls, newest first, with the filters of the API. */
import { useEffect, useState } from 'preact/hooks';
import type { CallList, CallRecordView } from '../../api.gen.ts';
import { useAction, useApp, useEvents, useLoad, type ViewProps } from '../../app.tsx';
import { useTongue } from '../../i18n/index.tsx';
import { go, href } from '../../router.ts';
import { Button, Busy, Fault, Table, Time, Title } from '../../ui/index.tsx';
import { End } from '../ending.tsx';
import { DIRECTION, RECORDING, sipParty, span, STATE, whatsAppParty } from '../words.ts';
import { save } from './save.ts';
import { askedOf, filterOf, placeOf } from './filter.ts';
import { FilterForm } from './filter_form.tsx';

export function Records({ query }: ViewProps) {
  const { t } = useTongue();
  const { api } = useApp();
  const filter = filterOf(query);
  const asked = askedOf(filter);
  const key = JSON.stringify(asked);
  const first = useLoad((signal) => api.get<CallList>('/calls', { query: asked, signal }), [key]);
  const [older, setOlder] = useState<CallList[]>([]);
  useEffect(() => setOlder([]), [first.data]);
  useEvents(
    ['call.ended'],
    () => {
      // what is read further down stays where it is
      if (older.length === 0) first.reload();
    },
    first.reload,
  );
  const pages = first.data === null ? [] : [first.data, ...older];
  const next = pages.at(-1)?.next ?? null;
  const more = useAction(async () => {
    const page = await api.get<CallList>('/calls', { query: { ...asked, cursor: next } });
    setOlder((before) => [...before, page]);
  });
  const csv = useAction(async () => save(await api.blob('/calls.csv', { query: asked }), 'calls.csv'));
  const calls = pages.flatMap((page) => page.calls);
  return (
    <>
      <Title
        actions={
          <Button busy={csv.busy} onClick={() => csv.run()}>
            {t('records.csv')}
          </Button>
        }
      >
        {t('nav.records')}
      </Title>
      <FilterForm key={key} filter={filter} onFilter={(wanted) => go('/calls', placeOf(wanted))} />
      <Fault error={csv.error} />
      <Fault error={first.error} />
      {first.data === null && first.error === null && <Busy />}
      {first.data !== null && calls.length === 0 && <p role="status">{t('records.none')}</p>}
      {calls.length > 0 && (
        <Table
          caption={t('nav.records')}
          heads={[
            t('records.when'),
            t('records.direction'),
            t('records.whatsapp'),
            t('records.phone'),
            t('records.duration'),
            t('records.ending'),
            t('records.mos'),
            t('records.recording'),
          ]}
        >
          {calls.map((call) => (
            <Line key={call.id} call={call} />
          ))}
        </Table>
      )}
      <Fault error={more.error} />
      {next !== null && (
        <Button busy={more.busy} onClick={() => more.run()}>
          {t('records.more')}
        </Button>
      )}
    </>
  );
}

function Line({ call }: { call: CallRecordView }) {
  const { t, number } = useTongue();
  const scores = [call.quality?.wa_to_sip.mos, call.quality?.sip_to_wa.mos].filter((one) => typeof one === 'number');
  return (
    <tr>
      <td>
        <a href={href(`/calls/${call.id}`)}>
          <Time at={call.created_at} />
        </a>
      </td>
      <td>{t(DIRECTION[call.direction])}</td>
      <td>{whatsAppParty(call.whatsapp) ?? t('call.unknown')}</td>
      <td>{sipParty(call.sip) ?? t('call.unknown')}</td>
      <td class="figure">{call.duration_s === null ? '–' : span(call.duration_s)}</td>
      <td>{call.ending === null ? t(STATE[call.state]) : <End ending={call.ending} />}</td>
      <td class="figure">{scores.length ? number(Math.min(...scores), 1) : '–'}</td>
      <td>{call.recording === null ? '–' : t(RECORDING[call.recording.state ?? 'done'])}</td>
    </tr>
  );
}
