import type { CallView } from '../../api.gen.ts';
import { useTongue } from '../../i18n/index.tsx';
import { href } from '../../router.ts';
import { Badge, Card, Notice, Told } from '../../ui/index.tsx';
import { DIRECTION, HOP, RECORDING, STATE, STATE_MOOD, sipParty, span, whatsAppParty } from '../words.ts';
import { Deeds } from './deeds.tsx';
import { Way } from './way.tsx';

/** One call in progress. */
export function LiveCall({ call, onChange }: { call: CallView; onChange: (call: CallView) => void }) {
  const { t } = useTongue();
  const person = whatsAppParty(call.whatsapp) ?? t('call.unknown');
  const phone = sipParty(call.sip) ?? t('call.unknown');
  const since = call.answered_at ?? call.created_at;
  const seconds = (Date.now() - Date.parse(since)) / 1000;
  return (
    <Card
      title={`${person} ↔ ${phone}`}
      actions={<a href={href(`/calls/${call.id}`)}>{t('live.details')}</a>}
    >
      <p class="call-state">
        <Badge mood={STATE_MOOD[call.state]}>{t(STATE[call.state])}</Badge>
        {call.held && <Badge mood="waiting">{t('call.held')}</Badge>}
        {call.muted && <Badge mood="waiting">{t('call.muted')}</Badge>}
        {call.recording?.state === 'recording' && <Badge mood="bad">{t(RECORDING.recording)}</Badge>}
        <span>{t(DIRECTION[call.direction])}</span>
        <span class="figure">{span(seconds)}</span>
      </p>
      {call.path !== null && call.path.broken.length > 0 && (
        <Notice mood="bad">
          {call.path.broken.map((hop, index) => (
            <p key={hop}>
              {t('live.broken', { hop: t(HOP[hop]) })} <Told>{call.path?.why[index] ?? ''}</Told>
            </p>
          ))}
        </Notice>
      )}
      {call.transfer !== null && <p role="status">{t(`call.transfer.${call.transfer.state}`, { to: call.transfer.extension })}</p>}
      {call.quality !== null && (
        <div class="ways">
          <Way way="wa_to_sip" call={call} />
          <Way way="sip_to_wa" call={call} />
        </div>
      )}
      <Deeds call={call} onChange={onChange} />
    </Card>
  );
}
