/** `/calls/:id`: one call, in progress or over: its data, figures, recording and ladder. */
import type { ComponentChildren } from 'preact';
import type { CallRecordView, DirectionQuality, Quality } from '../../api.gen.ts';
import { useAction, useApp, useEvents, useLoad, type ViewProps } from '../../app.tsx';
import { type PlainKey, useTongue } from '../../i18n/index.tsx';
import { href } from '../../router.ts';
import { Badge, Busy, Card, ConfirmButton, Fault, Table, Time, Title } from '../../ui/index.tsx';
import { End } from '../ending.tsx';
import { Ladder } from '../ladder/ladder.tsx';
import { DIRECTION, RESULT, sipParty, span, STATE, STATE_MOOD, whatsAppParty } from '../words.ts';
import { RecordingCard } from './recording.tsx';

export function Record({ parameters }: ViewProps) {
  const { t } = useTongue();
  const { api } = useApp();
  const id = parameters.id ?? '';
  const { data, error, reload } = useLoad(
    (signal) => api.get<CallRecordView>(`/calls/${encodeURIComponent(id)}`, { signal }),
    [id],
  );
  useEvents(
    ['call.state', 'call.ended', 'call.recording'],
    (event) => {
      if ('call_id' in event.data && event.data.call_id === id) reload();
    },
    reload,
  );
  return (
    <>
      <Title>{t('record.title')}</Title>
      <p>
        <a href={href('/calls')}>{t('record.back')}</a>
      </p>
      <Fault error={error} />
      {data === null && error === null && <Busy />}
      {data !== null && (
        <>
          <Facts call={data} />
          {data.quality !== null && <Figures quality={data.quality} />}
          {data.recording !== null && <RecordingCard call={data} recording={data.recording} onDeleted={reload} />}
          <Ladder callId={data.id} />
          <Erase call={data} />
        </>
      )}
    </>
  );
}

function Facts({ call }: { call: CallRecordView }) {
  const { t } = useTongue();
  const live = call.ended_at === null;
  return (
    <Card title={t('record.call')}>
      <dl class="facts">
        <Fact name={t('record.state')}>
          <Badge mood={STATE_MOOD[call.state]}>{t(STATE[call.state])}</Badge> {live && <a href={href('/live')}>{t('nav.live')}</a>}
        </Fact>
        <Fact name={t('records.direction')}>{t(DIRECTION[call.direction])}</Fact>
        <Fact name={t('records.whatsapp')}>{whatsAppParty(call.whatsapp) ?? t('call.unknown')}</Fact>
        <Fact name={t('records.phone')}>{sipParty(call.sip) ?? t('call.unknown')}</Fact>
        <Fact name={t('record.origin')}>{t(`call.origin.${call.origin}`)}</Fact>
        <Fact name={t('record.created')}>
          <Time at={call.created_at} />
        </Fact>
        <Fact name={t('record.answered')}>{call.answered_at === null ? '–' : <Time at={call.answered_at} />}</Fact>
        <Fact name={t('record.ended')}>{call.ended_at === null ? '–' : <Time at={call.ended_at} />}</Fact>
        {call.duration_s !== null && <Fact name={t('records.duration')}>{span(call.duration_s)}</Fact>}
        {call.ending !== null && (
          <Fact name={t('records.ending')}>
            <End ending={call.ending} /> · {t(RESULT[call.ending.result])}
          </Fact>
        )}
        <Fact name={t('record.id')}>
          <code>{call.id}</code>
        </Fact>
      </dl>
    </Card>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

const FIGURES: readonly (readonly [keyof DirectionQuality, PlainKey, number, string])[] = [
  ['mos', 'figure.mos', 2, ''],
  ['loss_percent', 'figure.loss', 1, ' %'],
  ['delay_ms', 'figure.delay', 0, ' ms'],
  ['jitter_ms', 'figure.jitter', 1, ' ms'],
  ['level_dbfs', 'figure.mean_level', 0, ' dBFS'],
  ['packets', 'figure.packets', 0, ''],
  ['lost', 'figure.lost', 0, ''],
  ['concealed_ms', 'figure.concealed', 0, ' ms'],
];

function Figures({ quality }: { quality: Quality }) {
  const { t, number } = useTongue();
  const shown = (way: DirectionQuality, [name, , digits, unit]: (typeof FIGURES)[number]): string => {
    const value = way[name];
    return typeof value === 'number' ? number(value, digits) + unit : '–';
  };
  return (
    <Card title={t('record.quality')}>
      <p>
        {t('record.codec', { codec: quality.codec ?? '–' })}{' '}
        {quality.wa_to_sip.scale === 'wide' ? t('record.wide') : quality.wa_to_sip.scale === 'narrow' ? t('record.narrow') : ''}
      </p>
      <Table caption={t('record.figures')} heads={[t('record.figure'), t('way.wa_to_sip'), t('way.sip_to_wa')]}>
        {FIGURES.map((figure) => (
          <tr key={figure[0]}>
            <th scope="row">{t(figure[1])}</th>
            <td class="figure">{shown(quality.wa_to_sip, figure)}</td>
            <td class="figure">{shown(quality.sip_to_wa, figure)}</td>
          </tr>
        ))}
      </Table>
    </Card>
  );
}

/** All that is stored of the person: GDPR's and LGPD's right, and not only of this call. */
function Erase({ call }: { call: CallRecordView }) {
  const { t } = useTongue();
  const { api } = useApp();
  const { number } = call.whatsapp;
  const erase = useAction(async () => {
    await api.post('/calls/erase', { number: `+${number ?? ''}` });
    location.hash = href('/calls');
  });
  if (number === null || call.ended_at === null) return null;
  return (
    <Card title={t('erase.title')}>
      <p>{t('erase.lead')}</p>
      <Fault error={erase.error} />
      <ConfirmButton
        label={t('erase.go')}
        question={t('erase.question', { number: `+${number}` })}
        confirm={t('erase.confirm')}
        busy={erase.busy}
        onConfirm={() => erase.run()}
      />
    </Card>
  );
}
