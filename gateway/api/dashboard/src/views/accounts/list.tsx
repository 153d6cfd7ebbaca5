import { useState } from 'preact/hooks';
import type { AccountList, AccountView, NewAccount } from '../../api.gen.ts';
import { useAction, useApp, useLoad, useTicker } from '../../app.tsx';
import { type PlainKey, useTongue } from '../../i18n/index.tsx';
import { href } from '../../router.ts';
import { Badge, Button, Busy, Card, Fault, Field, type Mood, Notice, Secret, Table, Time, Title } from '../../ui/index.tsx';
import { broken, way } from '../overview/path.ts';

const EVERY_MS = 10_000;

/** All accounts, for who runs the gateway. */
export function Accounts() {
  const { t } = useTongue();
  const { api } = useApp();
  const list = useLoad((signal) => api.get<AccountList>('/accounts', { signal }), []);
  useTicker(list.reload, EVERY_MS);
  return (
    <>
      <Title>{t('nav.accounts')}</Title>
      <Fault error={list.error} />
      {!list.data && list.loading && <Busy />}
      {list.data && (
        <Card title={t('accounts.list')}>
          {list.data.accounts.length === 0 ? <p>{t('accounts.empty')}</p> : <List accounts={list.data.accounts} />}
        </Card>
      )}
      <Create onCreated={list.reload} />
    </>
  );
}

function List({ accounts }: { accounts: readonly AccountView[] }) {
  const { t, number } = useTongue();
  return (
    <Table
      caption={t('accounts.list')}
      heads={[t('accounts.name'), t('accounts.state'), t('accounts.calls'), t('accounts.created')]}
    >
      {accounts.map((account) => (
        <tr key={account.id}>
          <th scope="row">
            <a href={href(`/accounts/${encodeURIComponent(account.name)}`)}>{account.name}</a>
          </th>
          <td>
            <AccountState account={account} />
          </td>
          <td>{number(account.calls)}</td>
          <td>
            <Time at={account.created_at} style="short" />
          </td>
        </tr>
      ))}
    </Table>
  );
}

export function AccountState({ account }: { account: AccountView }) {
  const { t } = useTongue();
  const [mood, word, spot] = health(account);
  return (
    <Badge mood={mood}>
      {spot && `${t(spot)}: `}
      {t(word)}
    </Badge>
  );
}

/** The first part that is not well, else that all is. */
function health(account: AccountView): [Mood, PlainKey, PlainKey | null] {
  if (account.enabled === null) return ['off', 'accounts.unconfigured', null];
  const nodes = way(account.enabled, account.state);
  const worst = broken(nodes) ?? nodes.find((node) => node.mood === 'waiting');
  if (worst) return [worst.mood, worst.word, `spot.${worst.spot}`];
  return account.enabled ? ['good', 'word.ready', null] : ['off', 'word.disabled', null];
}

function Create({ onCreated }: { onCreated: () => void }) {
  const { t } = useTongue();
  const { api } = useApp();
  const [name, setName] = useState('');
  const [made, setMade] = useState<NewAccount | null>(null);
  const create = useAction(async () => {
    setMade(null);
    setMade(await api.post<NewAccount>('/accounts', { name: name.trim() }));
    setName('');
    onCreated();
  });
  const fault = create.error?.errors.find((one) => one.field === 'name')?.message;
  return (
    <Card title={t('accounts.new')}>
      {made && (
        <Notice mood="good">
          <Secret label={t('accounts.key_of', { name: made.name })} value={made.key.key} />
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
          label={t('accounts.name')}
          hint={t('accounts.name_hint')}
          name="name"
          autoComplete="off"
          spellcheck={false}
          required
          value={name}
          fault={fault}
          onInput={(event) => setName(event.currentTarget.value)}
        />
        {!fault && <Fault error={create.error} />}
        <Button kind="main" type="submit" busy={create.busy}>
          {t('accounts.create')}
        </Button>
      </form>
    </Card>
  );
}
