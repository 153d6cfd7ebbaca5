import { useState } from 'preact/hooks';
import type { WebhookList, WebhookSecret, WebhookView } from '../../api.gen.ts';
import { useAction, useApp, useLoad, useTicker } from '../../app.tsx';
import { useTongue } from '../../i18n/index.tsx';
import { href } from '../../router.ts';
import { Badge, Busy, Card, Fault, Notice, Secret, Table, Time, Title } from '../../ui/index.tsx';
import { type Wanted, WebhookForm } from './form.tsx';

const EVERY_MS = 10_000;

/** All webhooks, and a new one. */
export function Webhooks() {
  const { t } = useTongue();
  const { api } = useApp();
  const list = useLoad((signal) => api.get<WebhookList>('/webhooks', { signal }), []);
  useTicker(list.reload, EVERY_MS);
  return (
    <>
      <Title>{t('nav.webhooks')}</Title>
      <Fault error={list.error} />
      {!list.data && list.loading && <Busy />}
      {list.data && (
        <Card title={t('hooks.list')}>
          {list.data.webhooks.length === 0 ? <p>{t('hooks.empty')}</p> : <List hooks={list.data.webhooks} />}
        </Card>
      )}
      <Create onCreated={list.reload} />
    </>
  );
}

function List({ hooks }: { hooks: readonly WebhookView[] }) {
  const { t } = useTongue();
  return (
    <Table caption={t('hooks.list')} heads={[t('hooks.url'), t('hooks.state'), t('hooks.events')]}>
      {hooks.map((hook) => (
        <tr key={hook.id}>
          <th scope="row">
            <a href={href(`/webhooks/${hook.id}`)}>{hook.url}</a>
          </th>
          <td>
            <HookState hook={hook} />
          </td>
          <td>{hook.events.length ? hook.events.join(', ') : t('hooks.all')}</td>
        </tr>
      ))}
    </Table>
  );
}

export function HookState({ hook }: { hook: WebhookView }) {
  const { t } = useTongue();
  if (!hook.enabled) return <Badge mood="off">{t('hooks.off')}</Badge>;
  if (!hook.failures) return <Badge mood="good">{t('hooks.on')}</Badge>;
  return (
    <>
      <Badge mood="bad">{t('hooks.failing', { count: hook.failures })}</Badge>{' '}
      {hook.paused_until && (
        <span class="hint">
          {t('hooks.paused')} <Time at={hook.paused_until} />
        </span>
      )}
    </>
  );
}

function Create({ onCreated }: { onCreated: () => void }) {
  const { t } = useTongue();
  const { api } = useApp();
  const [made, setMade] = useState<WebhookSecret | null>(null);
  const create = useAction(async (wanted: Wanted) => {
    setMade(null);
    setMade(await api.post<WebhookSecret>('/webhooks', wanted));
    onCreated();
  });
  return (
    <Card title={t('hooks.new')}>
      {made && (
        <Notice mood="good">
          {t('hooks.made')} <a href={href(`/webhooks/${made.id}`)}>{made.url}</a>
          <Secret label={t('hooks.secret')} value={made.secret} />
          <p class="detail">{t('hooks.secret_once')}</p>
        </Notice>
      )}
      <WebhookForm key={made?.id ?? ''} first={{ url: '', events: [] }} action={create} submit={t('hooks.create')} />
    </Card>
  );
}
