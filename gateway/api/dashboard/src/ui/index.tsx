/** The few building blocks of every view: their looks are in `app.css`, their accessibility is here. */
import type { ComponentChildren, JSX, TargetedEvent, TargetedInputEvent } from 'preact';
import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Action } from '../app.tsx';
import { ApiError } from '../api.ts';
import { type PlainKey, useTongue } from '../i18n/index.tsx';

export type Mood = 'good' | 'bad' | 'waiting' | 'off';

/** The gateway's own words, which are English in every language. */
export function Told({ children }: { children: ComponentChildren }) {
  return <span lang="en">{children}</span>;
}

export function Card(props: { title?: ComponentChildren; actions?: ComponentChildren; children: ComponentChildren }) {
  const id = useId();
  return (
    <section class="card" {...(props.title ? { 'aria-labelledby': id } : {})}>
      {props.title && (
        <div class="card-head">
          <h2 id={id}>{props.title}</h2>
          {props.actions && <div class="actions">{props.actions}</div>}
        </div>
      )}
      {props.children}
    </section>
  );
}

/** A state as a word; its colour only repeats what the word says. */
export function Badge({ mood, children }: { mood: Mood; children: ComponentChildren }) {
  return <span class={`badge ${mood}`}>{children}</span>;
}

/** Something that the person should notice; `bad` interrupts a screen reader. */
export function Notice({ mood = 'off', children }: { mood?: Mood; children: ComponentChildren }) {
  return (
    <div class={`notice ${mood}`} role={mood === 'bad' ? 'alert' : 'status'}>
      {children}
    </div>
  );
}

type ButtonProps = Omit<JSX.IntrinsicElements['button'], 'class'> & {
  kind?: 'plain' | 'main' | 'danger' | 'quiet';
  busy?: boolean;
};

export function Button({ kind = 'plain', busy = false, disabled, children, type = 'button', ...rest }: ButtonProps) {
  return (
    <button {...rest} type={type} class={`button ${kind}`} disabled={Boolean(disabled) || busy} aria-busy={busy}>
      {children}
    </button>
  );
}

/** A button that asks once more, in its own place, before it does what cannot be undone. */
export function ConfirmButton(props: {
  label: string;
  question: string;
  confirm: string;
  onConfirm: () => Promise<void>;
  busy?: boolean;
}) {
  const { t } = useTongue();
  const [asking, setAsking] = useState(false);
  const first = useRef<HTMLButtonElement>(null);
  const second = useRef<HTMLButtonElement>(null);
  const was = useRef(false);
  // before anybody can press a key: the button that had the focus is gone
  useLayoutEffect(() => {
    if (asking) second.current?.focus();
    else if (was.current) first.current?.focus();
    was.current = asking;
  }, [asking]);
  if (!asking) {
    return (
      <button ref={first} type="button" class="button danger" disabled={props.busy} onClick={() => setAsking(true)}>
        {props.label}
      </button>
    );
  }
  return (
    <span
      class="confirm"
      role="group"
      aria-label={props.question}
      onKeyDown={(event) => {
        if (event.key === 'Escape') setAsking(false);
      }}
    >
      <span>{props.question}</span>
      <button ref={second} type="button" class="button" onClick={() => setAsking(false)}>
        {t('cancel')}
      </button>
      <Button
        kind="danger"
        onClick={async () => {
          setAsking(false);
          await props.onConfirm();
        }}
      >
        {props.confirm}
      </Button>
    </span>
  );
}

interface InputProps {
  type?: 'text' | 'password' | 'url' | 'tel' | 'number' | 'search' | 'datetime-local';
  name?: string;
  value?: string;
  checked?: boolean;
  required?: boolean;
  disabled?: boolean;
  placeholder?: string;
  inputMode?: 'text' | 'numeric' | 'tel' | 'url';
  autoComplete?: string;
  spellcheck?: boolean;
  onInput?: (event: TargetedInputEvent<HTMLInputElement>) => void;
  onChange?: (event: TargetedEvent<HTMLInputElement>) => void;
}

/** A labelled field with its hint and its fault, both of which a screen reader reads with it. A text is the gateway's. */
export function Field({
  label,
  hint,
  fault,
  type = 'text',
  ...input
}: InputProps & { label: string; hint?: string; fault?: ComponentChildren }) {
  const id = useId();
  const described = [hint && `${id}-hint`, fault && `${id}-fault`].filter(Boolean).join(' ');
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        {...({ ...input, type } as object)} // of all kinds at once tsc does not know the type
        id={id}
        {...(fault ? { 'aria-invalid': 'true' as const } : {})}
        {...(described ? { 'aria-describedby': described } : {})}
      />
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {fault && (
        <p class="fault" id={`${id}-fault`}>
          {typeof fault === 'string' ? <Told>{fault}</Told> : fault}
        </p>
      )}
    </div>
  );
}

export function Select(props: {
  label: string;
  value: string;
  options: readonly (readonly [value: string, label: string])[];
  onChange: (value: string) => void;
}) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <select id={id} value={props.value} onChange={(event) => props.onChange(event.currentTarget.value)}>
        {props.options.map(([value, label]) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
    </div>
  );
}

export function Check({ label, ...input }: Omit<InputProps, 'type'> & { label: string }) {
  const id = useId();
  return (
    <div class="check">
      <input {...input} id={id} type="checkbox" />
      <label for={id}>{label}</label>
    </div>
  );
}

/** A table that scrolls by itself where the screen is narrow, by keyboard as well. */
export function Table(props: { caption: string; heads: readonly string[]; children: ComponentChildren }) {
  return (
    <div class="scroll" role="group" aria-label={props.caption} tabIndex={0}>
      <table>
        <caption class="unseen">{props.caption}</caption>
        <thead>
          <tr>
            {props.heads.map((head) => (
              <th key={head} scope="col">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{props.children}</tbody>
      </table>
    </div>
  );
}

export function Time({ at, style = 'exact' }: { at: string; style?: 'short' | 'exact' }) {
  const { when } = useTongue();
  return <time dateTime={at}>{when(at, style)}</time>;
}

/** Text that is shown to be taken along, with a button that copies it. */
export function Secret({ label, value }: { label: string; value: string }) {
  const { t } = useTongue();
  const id = useId();
  const [copied, setCopied] = useState(false);
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <div class="together">
        <input id={id} readOnly value={value} onFocus={(event) => event.currentTarget.select()} />
        <Button
          onClick={async () => {
            await navigator.clipboard.writeText(value);
            setCopied(true);
          }}
        >
          {t(copied ? 'copied' : 'copy')}
        </Button>
      </div>
    </div>
  );
}

export function Busy() {
  const { t } = useTongue();
  return (
    <p class="busy" role="status">
      {t('loading')}
    </p>
  );
}

const FAULTS: Record<string, PlainKey> = {
  unreachable: 'fault.unreachable',
  timeout: 'fault.timeout',
  too_many_requests: 'fault.too_many',
};

/** What went wrong: our sentence where there is one, and the gateway's. */
export function Fault({ error }: { error: ApiError | null }) {
  const { t } = useTongue();
  if (!error) return null;
  const key = FAULTS[error.code];
  return (
    <Notice mood="bad">
      {key ? t(key) : t('fault.refused')} {error.status > 0 && <Told>{error.message}</Told>}
    </Notice>
  );
}

/** A button for an action, and what went wrong with it. */
export function ActionButton({
  action,
  children,
  kind,
}: {
  action: Action<[]>;
  children: ComponentChildren;
  kind?: 'plain' | 'main' | 'danger' | 'quiet';
}) {
  return (
    <Button kind={kind ?? 'plain'} busy={action.busy} onClick={() => action.run()}>
      {children}
    </Button>
  );
}

/** The title of a view, which takes the focus when the view comes. */
export function Title({ children, actions }: { children: ComponentChildren; actions?: ComponentChildren }) {
  return (
    <div class="title">
      <h1 tabIndex={-1}>{children}</h1>
      {actions && <div class="actions">{actions}</div>}
    </div>
  );
}
