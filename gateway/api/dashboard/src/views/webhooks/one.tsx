import { useState } from 'preact/hooks';
import type { WebhookSecret, WebhookView } from '../../api.gen.ts';
import { type Loaded, type ViewProps, useAction, useApp, useLoad, useTicker } from '../../app.tsx';
import { useTongue } from '../../i18n/index.tsx';
import { go, href } from '../../router.ts';
import { Button, Busy, Card, ConfirmButton, Fault, Notice, Secret, Time, Title, Told } from '../../ui/index.tsx';
import { type Wanted, WebhookForm, knownEvents } from './form.tsx';
import { Deliveries } from './deliveries.tsx';
import { HookState } from './list.tsx';

const EVERY_MS = 10_000;

/** One webhook: its secret, its switch, what was sent. */
export function Webhook({ parameters }: ViewProps) {
  const { t } = useTongue();
  const { api } = useApp();
  const path = `/webhooks/${encodeURIComponent(parameters['id'] ?? '')}`;
  const hook = useLoad((signal) => api.get<WebhookView>(path, { signal }), [path]);
  useTicker(hook.reload, EVERY_MS);
  return (
    <>
      <p>
        <a href={href('/webhooks')}>← {t('nav.webhooks')}</a>
      </p>
      <Title>{t('hooks.one')}</Title>
      <Fault error={hook.error} />
      {hook.data ? (
        <>
          <State hook={hook.data} path={path} loaded={hook} />
          <Deliveries path={path} />
          <Change hook={hook.data} path={path} loaded={hook} />
        </>
      ) : (
        hook.loading && <Busy />
      )}
    </>
  );
}

interface Part {
  hook: WebhookView;
  path: string;
  loaded: Loaded<WebhookView>;
}

function State({ hook, path, loaded }: Part) {
  const { t } = useTongue();
  const { api } = useApp();
  const [secret, setSecret] = useState<string | null>(null);
  const toggle = useAction(async () => loaded.set(await api.patch<WebhookView>(path, { enabled: !hook.enabled })));
  const rotate = useAction(async () => {
    const { secret: made, ...rotated } = await api.post<WebhookSecret>(`${path}/rotate`);
    setSecret(made);
    loaded.set(rotated);
  });
  const remove = useAction(async () => {
    await api.delete(path);
    go('/webhooks');
  });
  return (
    <Card title={hook.url}>
      <p>
        <HookState hook={hook} />
      </p>
      <dl class="facts">
        <dt>{t('hooks.events')}</dt>
        <dd>{hook.events.length ? hook.events.join(', ') : t('hooks.all')}</dd>
        <dt>{t('hooks.created')}</dt>
        <dd>
          <Time at={hook.created_at} />
        </dd>
        {hook.old_secret_until && (
          <>
            <dt>{t('hooks.old_secret')}</dt>
            <dd>
              <Time at={hook.old_secret_until} />
            </dd>
          </>
        )}
        {hook.disabled_reason && (
          <>
            <dt>{t('hooks.disabled')}</dt>
            <dd>
              <Told>{hook.disabled_reason}</Told>
            </dd>
          </>
        )}
      </dl>
      {secret && (
        <Notice mood="good">
          <Secret label={t('hooks.secret')} value={secret} />
          <p class="detail">{t('hooks.rotated')}</p>
        </Notice>
      )}
      <div class="actions">
        <Button busy={toggle.busy} onClick={() => toggle.run()}>
          {t(hook.enabled ? 'hooks.switch_off' : 'hooks.switch_on')}
        </Button>
        <Button busy={rotate.busy} onClick={() => rotate.run()}>
          {t('hooks.rotate')}
        </Button>
        <ConfirmButton
          label={t('hooks.delete')}
          question={t('hooks.delete_sure')}
          confirm={t('hooks.delete_yes')}
          busy={remove.busy}
          onConfirm={remove.run}
        />
      </div>
      <Fault error={toggle.error ?? rotate.error ?? remove.error} />
    </Card>
  );
}

function Change({ hook, path, loaded }: Part) {
  const { t } = useTongue();
  const { api } = useApp();
  const [saved, setSaved] = useState(false);
  const change = useAction(async (wanted: Wanted) => {
    setSaved(false);
    loaded.set(await api.patch<WebhookView>(path, wanted));
    setSaved(true);
  });
  return (
    <Card title={t('hooks.change')}>
      <WebhookForm
        first={{ url: hook.url, events: knownEvents(hook.events) }}
        action={change}
        submit={t('hooks.save')}
      />
      {saved && <Notice mood="good">{t('hooks.saved')}</Notice>}
    </Card>
  );
}
