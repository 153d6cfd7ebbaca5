import { useState } from 'preact/hooks';
import { EVENT_TYPES, type EventType } from '../../api.gen.ts';
import type { Action } from '../../app.tsx';
import { useTongue } from '../../i18n/index.tsx';
import { Button, Check, Fault, Field } from '../../ui/index.tsx';

export interface Wanted {
  url: string;
  /** None: all. */
  events: EventType[];
}

/** Where events go, and which; for a new webhook and for a change. */
export function WebhookForm(props: { first: Wanted; action: Action<[Wanted]>; submit: string }) {
  const { t } = useTongue();
  const [url, setUrl] = useState(props.first.url);
  const [events, setEvents] = useState<readonly EventType[]>(props.first.events);
  const errors = props.action.error?.errors ?? [];
  const fault = errors.find((one) => one.field === 'url')?.message;
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void props.action.run({ url: url.trim(), events: [...events] });
      }}
    >
      <Field
        label={t('hooks.url')}
        hint={t('hooks.url_hint')}
        type="url"
        name="url"
        autoComplete="off"
        required
        value={url}
        fault={fault}
        onInput={(event) => setUrl(event.currentTarget.value)}
      />
      <fieldset>
        <legend>{t('hooks.events')}</legend>
        <p class="hint">{t('hooks.events_hint')}</p>
        <div class="choices">
          {EVENT_TYPES.map((type) => (
            <Check
              key={type}
              label={type}
              checked={events.includes(type)}
              onChange={(event) =>
                setEvents(event.currentTarget.checked ? [...events, type] : events.filter((one) => one !== type))
              }
            />
          ))}
        </div>
      </fieldset>
      {!fault && <Fault error={props.action.error} />}
      <Button kind="main" type="submit" busy={props.action.busy}>
        {props.submit}
      </Button>
    </form>
  );
}

export function knownEvents(events: readonly string[]): EventType[] {
  return EVENT_TYPES.filter((type) => events.includes(type));
}
