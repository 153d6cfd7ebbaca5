import { useState } from 'preact/hooks';
import type { DeliveryList, DeliveryView } from '../../api.gen.ts';
import { useAction, useApp, useLoad, useTicker } from '../../app.tsx';
import { type PlainKey, useTongue } from '../../i18n/index.tsx';
import { Badge, Button, Busy, Card, Fault, type Mood, Table, Time, Told } from '../../ui/index.tsx';

const PAGE = 20;
const EVERY_MS = 5000;

const STATES: Record<DeliveryView['state'], [Mood, PlainKey]> = {
  pending: ['waiting', 'delivery.pending'],
  delivered: ['good', 'delivery.delivered'],
  failed: ['bad', 'delivery.failed'],
};

/** What was sent, and what became of it: newest first, page by page. */
export function Deliveries({ path }: { path: string }) {
  const { t } = useTongue();
  const { api } = useApp();
  /** The last ids of the pages before this one. */
  const [pages, setPages] = useState<readonly string[]>([]);
  const before = pages.at(-1);
  const list = useLoad(
    (signal) => api.get<DeliveryList>(`${path}/deliveries`, { query: { limit: PAGE, before }, signal }),
    [path, before],
  );
  useTicker(list.reload, EVERY_MS);
  const deliveries = list.data?.deliveries ?? [];
  const last = deliveries.at(-1);
  return (
    <Card title={t('delivery.title')}>
      <Fault error={list.error} />
      {!list.data && list.loading && <Busy />}
      {list.data && deliveries.length === 0 && <p>{t('delivery.none')}</p>}
      {deliveries.length > 0 && (
        <Table
          caption={t('delivery.title')}
          heads={[t('delivery.event'), t('delivery.at'), t('delivery.state'), t('delivery.tries'), t('delivery.do')]}
        >
          {deliveries.map((one) => (
            <Delivery key={one.id} one={one} path={path} onReplayed={list.reload} />
          ))}
        </Table>
      )}
      {(pages.length > 0 || deliveries.length === PAGE) && (
        <div class="actions">
          <Button disabled={!pages.length} onClick={() => setPages(pages.slice(0, -1))}>
            {t('newer')}
          </Button>
          <Button disabled={deliveries.length < PAGE} onClick={() => last && setPages([...pages, last.id])}>
            {t('older')}
          </Button>
        </div>
      )}
    </Card>
  );
}

function Delivery({ one, path, onReplayed }: { one: DeliveryView; path: string; onReplayed: () => void }) {
  const { t, number } = useTongue();
  const { api } = useApp();
  const replay = useAction(async () => {
    await api.post(`${path}/deliveries/${encodeURIComponent(one.id)}/replay`);
    onReplayed();
  });
  const [mood, word] = STATES[one.state];
  return (
    <tr>
      <th scope="row">
        {one.event.type}
        <details>
          <summary>{one.event.id}</summary>
          <pre class="code">{JSON.stringify(one.event, null, 2)}</pre>
        </details>
      </th>
      <td>
        <Time at={one.event.timestamp} />
      </td>
      <td>
        <Badge mood={mood}>{t(word)}</Badge>
        {one.next_try_at && (
          <p class="hint">
            {t('delivery.next')} <Time at={one.next_try_at} />
          </p>
        )}
      </td>
      <td>
        {one.attempts.length === 0 ? (
          '–'
        ) : (
          <details>
            <summary>{number(one.attempts.length)}</summary>
            <ul class="plain">
              {one.attempts.map((attempt) => (
                <li key={attempt.at}>
                  <Time at={attempt.at} />: {attempt.status ?? '–'} <Told>{attempt.error}</Told> ({number(attempt.duration_ms)}{' '}
                  ms)
                </li>
              ))}
            </ul>
          </details>
        )}
      </td>
      <td>
        <Button busy={replay.busy} aria-label={t('delivery.replay_one', { id: one.event.id })} onClick={() => replay.run()}>
          {t('delivery.replay')}
        </Button>
        <Fault error={replay.error} />
      </td>
    </tr>
  );
}
