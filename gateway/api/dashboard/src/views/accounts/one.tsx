import { useState } from 'preact/hooks';
import type { AccountDetail, KeyView, NewKey } from '../../api.gen.ts';
import { type ViewProps, useAction, useApp, useLoad, useTicker } from '../../app.tsx';
import { type PlainKey, useTongue } from '../../i18n/index.tsx';
import { go, href } from '../../router.ts';
import { Button, Busy, Card, Check, ConfirmButton, Fault, Field, Notice, Secret, Table, Time, Title, Told } from '../../ui/index.tsx';
import { AccountState } from './list.tsx';

const EVERY_MS = 10_000;

const PARTS: readonly (readonly [keyof AccountDetail['state'], PlainKey])[] = [
  ['page', 'part.page'],
  ['media', 'part.media'],
  ['registration', 'part.registration'],
  ['listener', 'part.listener'],
  ['phones', 'part.phones'],
];

/** One account: its parts, its keys, its end. */
export function Account({ parameters }: ViewProps) {
  const { t } = useTongue();
  const { api } = useApp();
  const path = `/accounts/${encodeURIComponent(parameters['name'] ?? '')}`;
  const account = useLoad((signal) => api.get<AccountDetail>(path, { signal }), [path]);
  useTicker(account.reload, EVERY_MS);
  return (
    <>
      <p>
        <a href={href('/accounts')}>← {t('nav.accounts')}</a>
      </p>
      <Title>{t('accounts.one')}</Title>
      <Fault error={account.error} />
      {account.data ? (
        <>
          <State account={account.data} />
          <Keys account={account.data} path={path} onChange={account.reload} />
          <Removal path={path} />
        </>
      ) : (
        account.loading && <Busy />
      )}
    </>
  );
}

function State({ account }: { account: AccountDetail }) {
  const { t } = useTongue();
  return (
    <Card title={account.name}>
      <p>
        <AccountState account={account} />
      </p>
      <Table caption={t('parts.title')} heads={[t('parts.part'), t('parts.state'), t('parts.detail')]}>
        {PARTS.map(([name, label]) => (
          <tr key={name}>
            <th scope="row">{t(label)}</th>
            <td>
              <Told>{account.state[name].state}</Told>
            </td>
            <td>
              <Told>{account.state[name].detail}</Told>
            </td>
          </tr>
        ))}
      </Table>
      <p class="hint">{t('parts.calls', { count: account.calls })}</p>
    </Card>
  );
}

function Keys({ account, path, onChange }: { account: AccountDetail; path: string; onChange: () => void }) {
  const { t } = useTongue();
  const { api } = useApp();
  const [label, setLabel] = useState('');
  const [made, setMade] = useState<NewKey | null>(null);
  const create = useAction(async () => {
    setMade(null);
    setMade(await api.post<NewKey>(`${path}/keys`, label.trim() ? { label: label.trim() } : {}));
    setLabel('');
    onChange();
  });
  return (
    <Card title={t('accounts.keys')}>
      <Table caption={t('accounts.keys')} heads={[t('accounts.label'), t('accounts.created'), t('accounts.revoked')]}>
        {account.keys.map((key) => (
          <Key key={key.id} one={key} path={path} onChange={onChange} />
        ))}
      </Table>
      {made && (
        <Notice mood="good">
          <Secret label={t('accounts.key_of', { name: account.name })} value={made.key} />
          <p class="detail">{t('accounts.key_once')}</p>
        </Notice>
      )}
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void create.run();
        }}
      >
        <Field
          label={t('accounts.label')}
          hint={t('accounts.label_hint')}
          autoComplete="off"
          value={label}
          onInput={(event) => setLabel(event.currentTarget.value)}
        />
        <Fault error={create.error} />
        <Button type="submit" busy={create.busy}>
          {t('accounts.new_key')}
        </Button>
      </form>
    </Card>
  );
}

function Key({ one, path, onChange }: { one: KeyView; path: string; onChange: () => void }) {
  const { t } = useTongue();
  const { api } = useApp();
  const revoke = useAction(async () => {
    await api.delete(`${path}/keys/${encodeURIComponent(one.id)}`);
    onChange();
  });
  return (
    <tr>
      <th scope="row">
        {one.label || '–'} <span class="hint">{one.id}</span>
      </th>
      <td>
        <Time at={one.created_at} />
      </td>
      <td>
        {one.revoked_at ? (
          <Time at={one.revoked_at} />
        ) : (
          <ConfirmButton
            label={t('accounts.revoke')}
            question={t('accounts.revoke_sure')}
            confirm={t('accounts.revoke_yes')}
            busy={revoke.busy}
            onConfirm={revoke.run}
          />
        )}
        <Fault error={revoke.error} />
      </td>
    </tr>
  );
}

function Removal({ path }: { path: string }) {
  const { t } = useTongue();
  const { api } = useApp();
  const [force, setForce] = useState(false);
  const [calls, setCalls] = useState(false);
  const remove = useAction(async () => {
    await api.delete(path, { query: { force, delete_calls: calls }, timeoutMs: 60_000 });
    go('/accounts');
  });
  return (
    <Card title={t('accounts.removal')}>
      <p>{t('accounts.removal_lead')}</p>
      <Check label={t('accounts.force')} checked={force} onChange={(event) => setForce(event.currentTarget.checked)} />
      <Check label={t('accounts.delete_calls')} checked={calls} onChange={(event) => setCalls(event.currentTarget.checked)} />
      <ConfirmButton
        label={t('accounts.remove')}
        question={t('accounts.remove_sure')}
        confirm={t('accounts.remove_yes')}
        busy={remove.busy}
        onConfirm={remove.run}
      />
      <Fault error={remove.error} />
    </Card>
  );
}
