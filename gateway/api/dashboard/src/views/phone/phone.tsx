/** `/phone`: a telephone in the page, to try a call through the gateway's SIP WebSocket. */
import { useEffect, useState } from 'preact/hooks';
import type { BridgeConfigView } from '../../api.gen.ts';
import { useApp, useLoad } from '../../app.tsx';
import { type PlainKey, useTongue } from '../../i18n/index.tsx';
import { Badge, Button, Card, Field, type Mood, Notice, Title, Told } from '../../ui/index.tsx';
import { PhoneCallPanel } from './call_panel.tsx';
import { FAULT } from './faults.ts';
import { type Fault, urlFault } from './rules.ts';
import type { Line } from './state.ts';
import { usePhone } from './use_phone.ts';

const STORED = 'ponte.phone.url'; // where phones connect is no secret; the password is kept nowhere

const LINE: Readonly<Record<Line, readonly [PlainKey, Mood]>> = {
  off: ['phone.line.off', 'off'],
  connecting: ['phone.line.connecting', 'waiting'],
  registered: ['phone.line.registered', 'good'],
  waiting: ['phone.line.waiting', 'waiting'],
  failed: ['phone.line.failed', 'bad'],
};

export function PhoneView() {
  const { t } = useTongue();
  const state = usePhone();
  const [word, mood] = LINE[state.line];
  return (
    <>
      <Title>{t('nav.phone')}</Title>
      <p>{t('phone.lead')}</p>
      <Card title={t('phone.line')} actions={<Badge mood={mood}>{t(word)}</Badge>}>
        <Connection />
      </Card>
      {state.fault !== null && (
        <Notice mood="bad">
          {t(FAULT[state.fault])} {state.answer !== '' && <Told>({state.answer})</Told>}
        </Notice>
      )}
      {(state.line === 'registered' || state.call !== null) && (
        <Card title={t('phone.call')}>
          <PhoneCallPanel />
        </Card>
      )}
    </>
  );
}

function Connection() {
  const { t } = useTongue();
  const { api, phone } = useApp();
  const { line, call } = usePhone();
  const config = useLoad((signal) => api.get<BridgeConfigView>('/call/bridge/config', { signal }), []).data;
  const [url, setUrl] = useState(() => localStorage.getItem(STORED) ?? '');
  const [user, setUser] = useState<string | null>(null);
  const [password, setPassword] = useState('');
  const [faults, setFaults] = useState<{ url: Fault | null; user: Fault | null }>({ url: null, user: null });
  const name = user ?? config?.sipListenUser ?? '';
  useEffect(() => {
    if (line === 'registered') setPassword('');
  }, [line]);
  if (line !== 'off' && line !== 'failed') {
    return (
      <>
        {config !== null && config.sipServer !== null && config.sipServer !== '' && <p class="hint">{t('phone.not_rung')}</p>}
        <Button disabled={call !== null} onClick={() => phone?.close()}>
          {t('phone.disconnect')}
        </Button>
      </>
    );
  }
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        const found = {
          url: urlFault(url, location),
          user: name.trim() === '' ? ('user_missing' as const) : null,
        };
        setFaults(found);
        if (found.url !== null || found.user !== null) return;
        localStorage.setItem(STORED, url.trim());
        void phone?.connect({ url: url.trim(), user: name.trim(), password });
      }}
    >
      <Field
        label={t('phone.url')}
        hint={t('phone.url_hint')}
        placeholder="wss://ponte.example.com:8443"
        autoComplete="off"
        spellcheck={false}
        value={url}
        fault={faults.url && <>{t(FAULT[faults.url])}</>}
        onInput={(event) => setUrl(event.currentTarget.value)}
      />
      <Field
        label={t('phone.user')}
        hint={t('phone.user_hint')}
        autoComplete="off"
        spellcheck={false}
        value={name}
        fault={faults.user && <>{t(FAULT[faults.user])}</>}
        onInput={(event) => setUser(event.currentTarget.value)}
      />
      <Field
        label={t('phone.password')}
        hint={t('phone.password_hint')}
        type="password"
        autoComplete="off"
        value={password}
        onInput={(event) => setPassword(event.currentTarget.value)}
      />
      <Button kind="main" type="submit">
        {t('phone.connect')}
      </Button>
    </form>
  );
}
