import { useEffect, useState } from 'preact/hooks';
import type { CodeView, PageState, SessionView } from '../../api.gen.ts';
import { ApiError } from '../../api.ts';
import { asApiError, useAction, useApp, useEvents, useLoad, useTicker } from '../../app.tsx';
import { type PlainKey, useTongue } from '../../i18n/index.tsx';
import { href } from '../../router.ts';
import { Badge, Button, Busy, Card, ConfirmButton, Fault, Field, type Mood, Notice, Time, Title, Told } from '../../ui/index.tsx';

const EVERY_MS = 10_000;
const AGAIN_MS = 2000; // a code that is not there yet comes within a second or two
const ROTATES_MS = 20_000; // WhatsApp shows another one about so often; its event says when

const STATES: Record<PageState, [Mood, PlainKey]> = {
  DETACHED: ['bad', 'word.unreachable'],
  ATTACHING: ['waiting', 'word.connecting'],
  LOADING: ['waiting', 'word.loading'],
  INJECTING: ['waiting', 'word.loading'],
  LOGIN_REQUIRED: ['bad', 'word.login'],
  READY: ['good', 'word.ready'],
  DEGRADED: ['bad', 'word.degraded'],
  LOST: ['bad', 'word.lost'],
};

/** The WhatsApp session: linking it to a phone, unlinking it, taking it over from another page. */
export function Pairing() {
  const { t } = useTongue();
  const { api } = useApp();
  const session = useLoad((signal) => api.get<SessionView>('/session', { signal }), []);
  useEvents(['page.state', 'account.state'], session.reload, session.reload);
  useTicker(session.reload, EVERY_MS);
  const found = session.data;
  return (
    <>
      <Title>{t('nav.pairing')}</Title>
      <Fault error={session.error} />
      {!found && session.loading && <Busy />}
      {found && (
        <>
          <State session={found} onChange={session.set} />
          {found.state === 'LOGIN_REQUIRED' && (
            <div class="columns">
              <QrCode />
              <PhoneCode />
            </div>
          )}
          <Needs session={found} />
        </>
      )}
    </>
  );
}

function State({ session, onChange }: { session: SessionView; onChange: (session: SessionView) => void }) {
  const { t } = useTongue();
  const { api } = useApp();
  const logout = useAction(async () => onChange(await api.post<SessionView>('/session/logout', undefined, { timeoutMs: 40_000 })));
  const takeover = useAction(async () => onChange(await api.post<SessionView>('/session/takeover', undefined, { timeoutMs: 40_000 })));
  const [mood, word] = STATES[session.state];
  return (
    <Card title={t('pairing.state')}>
      <p data-testid="session-state" data-state={session.state}>
        <Badge mood={mood}>{t(word)}</Badge> {session.number && <strong>+{session.number}</strong>}{' '}
        <span class="hint">
          {t('whatsapp.since')} <Time at={session.since} />
        </span>
      </p>
      {session.detail && (
        <p class="detail">
          <Told>{session.detail}</Told>
        </p>
      )}
      {(session.state === 'DETACHED' || session.state === 'LOST') && (
        <p>
          {t('pairing.no_page')} <a href={href('/configuration')}>{t('nav.configuration')}</a>
        </p>
      )}
      <div class="actions">
        {session.state === 'DEGRADED' && (
          <Button kind="main" busy={takeover.busy} onClick={() => takeover.run()}>
            {t('pairing.takeover')}
          </Button>
        )}
        {(session.state === 'READY' || session.state === 'DEGRADED') && (
          <ConfirmButton
            label={t('pairing.logout')}
            question={t('pairing.logout_sure')}
            confirm={t('pairing.logout_yes')}
            busy={logout.busy}
            onConfirm={logout.run}
          />
        )}
      </div>
      <Fault error={logout.error ?? takeover.error} />
    </Card>
  );
}

function QrCode() {
  const { t } = useTongue();
  const { api } = useApp();
  const [picture, setPicture] = useState<string | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = (ms: number) => {
      timer = setTimeout(() => setTurn((count) => count + 1), ms);
    };
    api.blob('/session/qr', { query: { format: 'png' }, signal: abort.signal }).then(
      (png) => {
        setPicture(URL.createObjectURL(png));
        setError(null);
        again(ROTATES_MS);
      },
      (fault: unknown) => {
        if (abort.signal.aborted) return;
        const told = asApiError(fault);
        setPicture(null);
        setError(told.code === 'qr_not_ready' ? null : told);
        again(told.retryAfterS ? told.retryAfterS * 1000 : AGAIN_MS);
      },
    );
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [api, turn]);
  useEffect(
    () => () => {
      if (picture) URL.revokeObjectURL(picture);
    },
    [picture],
  );
  useEvents(['session.qr'], () => setTurn((count) => count + 1));
  return (
    <Card title={t('pairing.qr')}>
      <ol>
        <li>{t('pairing.step1')}</li>
        <li>{t('pairing.step2')}</li>
        <li>{t('pairing.step3')}</li>
      </ol>
      {picture ? <img class="qr" src={picture} alt={t('pairing.qr_alt')} /> : !error && <Busy />}
      <Fault error={error} />
      <p class="hint">{t('pairing.qr_secret')}</p>
    </Card>
  );
}

function PhoneCode() {
  const { t } = useTongue();
  const { api } = useApp();
  const [phone, setPhone] = useState('');
  const [code, setCode] = useState<string | null>(null);
  const ask = useAction(async () => {
    setCode(null);
    const number = phone.replace(/[\s().-]/g, '');
    setCode((await api.post<CodeView>('/session/code', { phone: number }, { timeoutMs: 40_000 })).code);
  });
  const fault = ask.error?.errors.find((one) => one.field === 'phone');
  return (
    <Card title={t('pairing.code')}>
      <p>{t('pairing.code_lead')}</p>
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void ask.run();
        }}
      >
        <Field
          label={t('pairing.phone')}
          hint={t('pairing.phone_hint')}
          type="tel"
          autoComplete="tel"
          required
          value={phone}
          fault={fault?.message}
          onInput={(event) => setPhone(event.currentTarget.value)}
        />
        <Button kind="main" type="submit" busy={ask.busy}>
          {t('pairing.code_go')}
        </Button>
      </form>
      {!fault && <Fault error={ask.error} />}
      {code && (
        <Notice mood="good">
          {t('pairing.code_is')} <strong class="big code">{code}</strong>
        </Notice>
      )}
    </Card>
  );
}

function Needs({ session }: { session: SessionView }) {
  const { t } = useTongue();
  if (!session.needs.length) return null;
  return (
    <Card title={t('pairing.page')}>
      <dl class="facts">
        <dt>{t('whatsapp.version')}</dt>
        <dd>{session.whatsapp_version ?? t('none')}</dd>
        <dt>{t('whatsapp.takes')}</dt>
        <dd>{t(session.takes_calls ? 'yes' : 'no')}</dd>
        <dt>{t('whatsapp.places')}</dt>
        <dd>{t(session.places_calls ? 'yes' : 'no')}</dd>
        {session.missing.length > 0 && (
          <>
            <dt>{t('whatsapp.missing')}</dt>
            <dd>
              <Told>{session.missing.join(', ')}</Told>
            </dd>
          </>
        )}
      </dl>
      <details>
        <summary>{t('pairing.needs', { count: session.needs.length })}</summary>
        <ul class="plain">
          {session.needs.map((need) => (
            <li key={need.name}>
              <Badge mood={need.found ? 'good' : 'bad'}>{t(need.found ? 'pairing.found' : 'pairing.not_found')}</Badge>{' '}
              <Told>
                <span class="code">{need.name}</span> ({need.use})
              </Told>
            </li>
          ))}
        </ul>
      </details>
    </Card>
  );
}
