import { useEffect, useRef, useState } from 'preact/hooks';
import type { BridgeAnswer, BridgeConfigView, BridgeTest, CheckView, FaultView } from '../../api.gen.ts';
import { useAction, useApp, useLoad } from '../../app.tsx';
import { type PlainKey, useTongue } from '../../i18n/index.tsx';
import { Badge, Button, Busy, Card, Check, Fault, Field, Notice, Title, Told } from '../../ui/index.tsx';
import { FIELDS, type FieldName, type Form, MASK, SECRETS, changes, formOf, isChanged } from './form.ts';

const TEST_MS = 90_000; // it makes connections, and waits for those that do not answer

const GROUPS: readonly { title: PlainKey; fields: readonly FieldName[] }[] = [
  { title: 'config.pbx', fields: ['sipServer', 'sipUser', 'sipPass', 'sipExtension'] },
  { title: 'config.listener', fields: ['sipListenPort', 'sipListenUser', 'sipListenSecret'] },
  { title: 'config.chrome', fields: ['chromeRemoteURL', 'nodeRemoteHelper', 'wasmServerIP', 'wasmServerPort'] },
];

/** The twelve fields: the gateway checks them, and says by field what is wrong. */
export function Configuration() {
  const { t } = useTongue();
  const { api } = useApp();
  const stored = useLoad((signal) => api.get<BridgeConfigView>('/call/bridge/config', { signal }), []);
  return (
    <>
      <Title>{t('nav.configuration')}</Title>
      <Fault error={stored.error} />
      {stored.data ? <Fields stored={stored.data} onStored={stored.set} /> : stored.loading && <Busy />}
    </>
  );
}

function Fields({ stored, onStored }: { stored: BridgeConfigView; onStored: (config: BridgeConfigView) => void }) {
  const { t } = useTongue();
  const { api } = useApp();
  const [form, setForm] = useState<Form>(() => formOf(stored));
  const [answer, setAnswer] = useState<BridgeAnswer | null>(null);
  const [checks, setChecks] = useState<BridgeTest | null>(null);
  const element = useRef<HTMLFormElement>(null);
  const save = useAction(async () => {
    test.clear();
    setAnswer(null);
    const told = await api.post<BridgeAnswer>('/call/bridge/config', changes(stored, form), { timeoutMs: 60_000 });
    onStored(told.config);
    setForm(formOf(told.config));
    setAnswer(told);
  });
  const test = useAction(async () => {
    save.clear();
    setChecks(null);
    setChecks(await api.post<BridgeTest>('/call/bridge/test', changes(stored, form), { timeoutMs: TEST_MS }));
  });
  const error = save.error ?? test.error;
  const faults = error?.errors ?? [];
  const elsewhere = faults.filter((fault) => !FIELDS.some((name) => name === fault.field));
  useEffect(() => {
    if (faults.length) element.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
  }, [error]);
  const change = (name: FieldName, value: string) => setForm({ ...form, values: { ...form.values, [name]: value } });
  const remove = (name: FieldName, removed: boolean) => {
    const all = new Set(form.removed);
    if (removed) all.add(name);
    else all.delete(name);
    setForm({ ...form, removed: all });
  };
  return (
    <form
      ref={element}
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void save.run();
      }}
    >
      <Card title={t('config.bridge')}>
        <Check
          label={t('config.enabled')}
          checked={form.enabled}
          onChange={(event) => setForm({ ...form, enabled: event.currentTarget.checked })}
        />
        <p class="hint">{t('config.enabled_hint')}</p>
      </Card>
      {GROUPS.map((group) => (
        <Card key={group.title} title={t(group.title)}>
          <div class="columns">
            {group.fields.map((name) => (
              <OneField
                key={name}
                name={name}
                form={form}
                isStored={stored[name] === MASK}
                faults={faults}
                onChange={change}
                onRemove={remove}
              />
            ))}
          </div>
        </Card>
      ))}
      {error && (
        <Notice mood="bad">
          {faults.length > elsewhere.length ? t('config.faults') : t('fault.refused')}{' '}
          {faults.length === 0 && <Told>{error.message}</Told>}
          {elsewhere.length > 0 && <Told>{elsewhere.map((fault) => `${fault.field} ${fault.message}`).join('; ')}</Told>}
        </Notice>
      )}
      {answer && <Saved warnings={answer.warnings} />}
      <div class="actions bottom">
        <Button kind="main" type="submit" busy={save.busy}>
          {t('config.save')}
        </Button>
        <Button busy={test.busy} onClick={() => test.run()}>
          {t(test.busy ? 'config.testing' : 'config.test')}
        </Button>
        {isChanged(stored, form) && <span class="hint">{t('config.changed')}</span>}
      </div>
      {checks && <Checks test={checks} />}
    </form>
  );
}

function OneField(props: {
  name: FieldName;
  form: Form;
  isStored: boolean;
  faults: readonly FaultView[];
  onChange: (name: FieldName, value: string) => void;
  onRemove: (name: FieldName, removed: boolean) => void;
}) {
  const { t } = useTongue();
  const { name, form, isStored } = props;
  const secret = SECRETS.has(name);
  const messages = props.faults.filter((fault) => fault.field === name).map((fault) => fault.message);
  return (
    <div>
      <Field
        label={t(`config.${name}`)}
        hint={`${name} · ${t(`config.${name}.hint`)}${secret && isStored ? ` ${t('config.stored')}` : ''}`}
        name={name}
        type={secret ? 'password' : 'text'}
        autoComplete={secret ? 'new-password' : 'off'}
        spellcheck={false}
        placeholder={secret && isStored ? '••••••••' : ''}
        value={form.values[name]}
        fault={messages.length > 0 ? messages.join('; ') : undefined}
        onInput={(event) => props.onChange(name, event.currentTarget.value)}
      />
      {secret && isStored && (
        <Check
          label={t('config.remove', { name: t(`config.${name}`) })}
          checked={form.removed.has(name)}
          onChange={(event) => props.onRemove(name, event.currentTarget.checked)}
        />
      )}
    </div>
  );
}

function Saved({ warnings }: { warnings: readonly FaultView[] }) {
  const { t } = useTongue();
  return (
    <Notice mood={warnings.length ? 'waiting' : 'good'}>
      {t('config.saved')}
      {warnings.length > 0 && (
        <ul>
          {warnings.map((warning) => (
            <li key={warning.field}>
              <Told>
                {warning.field} {warning.message}
              </Told>
            </li>
          ))}
        </ul>
      )}
    </Notice>
  );
}

function Checks({ test }: { test: BridgeTest }) {
  const { t } = useTongue();
  return (
    <Card title={t('config.checks')}>
      <Notice mood={test.ok ? 'good' : 'bad'}>{t(test.ok ? 'config.test_good' : 'config.test_bad')}</Notice>
      <ul class="plain" data-testid="checks">
        {test.checks.map((check) => (
          <OneCheck key={check.check} check={check} />
        ))}
      </ul>
    </Card>
  );
}

function OneCheck({ check }: { check: CheckView }) {
  const { t } = useTongue();
  return (
    <li>
      <Badge mood={check.ok ? 'good' : 'bad'}>{t(check.ok ? 'config.good' : 'config.bad')}</Badge>{' '}
      <Told>
        <strong>{check.check}</strong> {check.detail}
        {check.fix && <p class="detail">{check.fix}</p>}
      </Told>
    </li>
  );
}
