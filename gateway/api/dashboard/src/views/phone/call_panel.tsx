import { useState } from 'preact/hooks';
import { useApp, useTicker } from '../../app.tsx';
import { type PlainKey, useTongue } from '../../i18n/index.tsx';
import { Badge, Button, Field } from '../../ui/index.tsx';
import { span } from '../words.ts';
import { FAULT } from './faults.ts';
import { dialled, type Fault } from './rules.ts';
import type { CallStage } from './state.ts';
import { usePhone } from './use_phone.ts';

const STAGE: Readonly<Record<CallStage, PlainKey>> = {
  calling: 'phone.stage.calling',
  ringing: 'phone.stage.ringing',
  incoming: 'phone.stage.incoming',
  up: 'phone.stage.up',
};
const KEYS = ['1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '0', '#'] as const;

/** Dialling; and once there is a call, what can be done with it. */
export function PhoneCallPanel() {
  const { call } = usePhone();
  return call === null ? <Dial /> : <InCall />;
}

function Dial() {
  const { t } = useTongue();
  const { phone } = useApp();
  const [number, setNumber] = useState('');
  const [fault, setFault] = useState<Fault | null>(null);
  return (
    <form
      class="inline"
      onSubmit={(event) => {
        event.preventDefault();
        const wanted = dialled(number);
        setFault('fault' in wanted ? wanted.fault : null);
        if ('number' in wanted) void phone?.phone?.dial(wanted.number);
      }}
    >
      <Field
        label={t('phone.number')}
        hint={t('phone.number_hint')}
        inputMode="tel"
        autoComplete="off"
        value={number}
        fault={fault && <>{t(FAULT[fault])}</>}
        onInput={(event) => setNumber(event.currentTarget.value)}
      />
      <Button kind="main" type="submit">
        {t('phone.dial')}
      </Button>
    </form>
  );
}

function InCall() {
  const { t } = useTongue();
  const { phone } = useApp();
  const { call } = usePhone();
  const [, setNow] = useState(0);
  useTicker(() => setNow(Date.now()), 1000);
  const desk = phone?.phone ?? null;
  if (call === null || desk === null) return null;
  const seconds = call.since_ms === null ? null : (Date.now() - call.since_ms) / 1000;
  return (
    <>
      <p class="call-state" role="status">
        <Badge mood={call.stage === 'up' ? 'good' : 'waiting'}>{t(STAGE[call.stage])}</Badge>
        {call.held && <Badge mood="waiting">{t('call.held')}</Badge>}
        {call.muted && <Badge mood="waiting">{t('phone.muted')}</Badge>}
        <span>{call.party}</span>
      </p>
      {seconds !== null && <p class="figure">{span(seconds)}</p>}
      <div class="deeds">
        {call.stage === 'incoming' && (
          <Button kind="main" onClick={() => desk.answer()}>
            {t('phone.answer')}
          </Button>
        )}
        <Button kind="danger" onClick={() => desk.hangup()}>
          {t(call.stage === 'incoming' ? 'phone.decline' : 'deed.hangup')}
        </Button>
        {call.stage === 'up' && (
          <>
            <Button onClick={() => desk.mute(!call.muted)}>{t(call.muted ? 'phone.unmute' : 'phone.mute')}</Button>
            <Button onClick={() => desk.hold(!call.held)}>{t(call.held ? 'deed.resume' : 'deed.hold')}</Button>
          </>
        )}
      </div>
      {call.stage === 'up' && (
        <div class="keypad" role="group" aria-label={t('phone.keys')}>
          {KEYS.map((key) => (
            <Button key={key} onClick={() => desk.key(key)}>
              {key}
            </Button>
          ))}
        </div>
      )}
    </>
  );
}
