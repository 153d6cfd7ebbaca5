import { useEffect, useState } from 'preact/hooks';
import type { CallRecordView, Recording } from '../../api.gen.ts';
import { useAction, useApp, useLoad } from '../../app.tsx';
import { useTongue } from '../../i18n/index.tsx';
import { Button, Busy, Card, ConfirmButton, Fault, Notice, Told } from '../../ui/index.tsx';
import { RECORDING, size, span } from '../words.ts';
import { Player } from './player.tsx';
import { save } from './save.ts';

const AT_ONCE_BYTES = 4e6; // eleven minutes of Opus; what is longer is fetched when it is asked for

/** The recording of a call: to listen to, to look at, to take along, to delete. */
export function RecordingCard(props: { call: CallRecordView; recording: Recording; onDeleted: () => void }) {
  const { call, recording, onDeleted } = props;
  const { t, number } = useTongue();
  const { api } = useApp();
  const { state = 'done', bytes = 0, format = 'opus' } = recording;
  const [wanted, setWanted] = useState(bytes <= AT_ONCE_BYTES);
  const there = state !== 'recording' && state !== 'deleted' && recording.duration_s > 0;
  const remove = useAction(async () => {
    await api.delete(`/calls/${call.id}/recording`);
    onDeleted();
  });
  return (
    <Card title={t('recording.title')}>
      <p>
        {t(RECORDING[state])} · {span(recording.duration_s)} · {size(bytes, number)} · {format}
      </p>
      {recording.detail && (
        <Notice mood="bad">
          <Told>{recording.detail}</Told>
        </Notice>
      )}
      {there && !wanted && (
        <Button onClick={() => setWanted(true)}>{t('recording.fetch', { size: size(bytes, number) })}</Button>
      )}
      {there && wanted && <Sound key={`${bytes}`} call={call} recording={recording} />}
      {there && call.ended_at !== null && (
        <ConfirmButton
          label={t('recording.delete')}
          question={t('recording.delete_question')}
          confirm={t('recording.delete_confirm')}
          busy={remove.busy}
          onConfirm={() => remove.run()}
        />
      )}
      <Fault error={remove.error} />
    </Card>
  );
}

function Sound({ call, recording }: { call: CallRecordView; recording: Recording }) {
  const { t } = useTongue();
  const { api } = useApp();
  const { data, error } = useLoad((signal) => api.blob(`/calls/${call.id}/recording`, { signal }), [call.id]);
  const [url, setUrl] = useState<string | null>(null);
  useEffect(() => {
    if (data === null) return undefined;
    const made = URL.createObjectURL(data);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [data]);
  return (
    <>
      <Fault error={error} />
      {url === null && error === null && <Busy />}
      {data !== null && url !== null && (
        <>
          <Player url={url} sound={data} durationS={recording.duration_s} />
          <Button onClick={() => save(data, recording.file)}>{t('recording.save')}</Button>
        </>
      )}
    </>
  );
}
