import { useState } from 'preact/hooks';
import type { CallView, KeysTaken } from '../../api.gen.ts';
import { useAction, useApp } from '../../app.tsx';
import { useTongue } from '../../i18n/index.tsx';
import { Button, Fault, Field } from '../../ui/index.tsx';
import { deedsOf } from './figures.ts';

/** The buttons of a call: each asks the documented API, and shows what that answers. */
export function Deeds({ call, onChange }: { call: CallView; onChange: (call: CallView) => void }) {
  const { t } = useTongue();
  const { api } = useApp();
  const [digits, setDigits] = useState('');
  const [played, setPlayed] = useState<number | null>(null);
  const [extension, setExtension] = useState('');
  const can = deedsOf(call.state);
  const act = useAction(async (deed: string, body?: Record<string, unknown>) => {
    onChange(await api.post<CallView>(`/call/${call.id}/${deed}`, body));
  });
  const keys = useAction(async () => {
    const { taken } = await api.post<KeysTaken>(`/call/${call.id}/dtmf`, { digits });
    setPlayed(taken);
    setDigits('');
  });
  const recording = call.recording?.state === 'recording';
  const spoilt = call.recording?.state === 'failed';
  return (
    <>
      <div class="deeds">
        <Button kind="danger" busy={act.busy} disabled={!can.hangup} onClick={() => act.run('hangup')}>
          {t('deed.hangup')}
        </Button>
        {can.reject && (
          <Button busy={act.busy} onClick={() => act.run('reject')}>
            {t('deed.reject')}
          </Button>
        )}
        {can.talk && (
          <>
            <Button busy={act.busy} onClick={() => act.run(call.held ? 'resume' : 'hold')}>
              {t(call.held ? 'deed.resume' : 'deed.hold')}
            </Button>
            <Button busy={act.busy} onClick={() => act.run('mute', { muted: !call.muted })}>
              {t(call.muted ? 'deed.unmute' : 'deed.mute')}
            </Button>
            <Button busy={act.busy} disabled={spoilt} onClick={() => act.run('record', { recording: !recording })}>
              {t(recording ? 'deed.record_stop' : 'deed.record')}
            </Button>
          </>
        )}
      </div>
      {can.talk && (
        <div class="deeds">
          <form
            class="inline"
            onSubmit={(event) => {
              event.preventDefault();
              void keys.run();
            }}
          >
            <Field
              label={t('deed.keys')}
              inputMode="tel"
              autoComplete="off"
              placeholder={t('deed.keys_hint')}
              required
              value={digits}
              onInput={(event) => {
                setDigits(event.currentTarget.value);
                setPlayed(null);
              }}
            />
            <Button type="submit" busy={keys.busy}>
              {t('deed.keys_send')}
            </Button>
          </form>
          <form
            class="inline"
            onSubmit={(event) => {
              event.preventDefault();
              void act.run('transfer', { extension });
            }}
          >
            <Field
              label={t('deed.transfer')}
              autoComplete="off"
              required
              value={extension}
              onInput={(event) => setExtension(event.currentTarget.value)}
            />
            <Button type="submit" busy={act.busy}>
              {t('deed.transfer_go')}
            </Button>
          </form>
        </div>
      )}
      <p class="said" role="status">
        {played === null ? '' : t('deed.keys_taken', { count: played })}
      </p>
      <Fault error={act.error ?? keys.error} />
    </>
  );
}
