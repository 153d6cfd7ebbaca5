import type { BridgeStatusView, PartView, SessionView } from '../../api.gen.ts';
import { useApp, useEvents, useLoad, useTicker } from '../../app.tsx';
import { type PlainKey, useTongue } from '../../i18n/index.tsx';
import { href } from '../../router.ts';
import { Badge, Busy, Card, Fault, Notice, Table, Time, Title, Told } from '../../ui/index.tsx';
import { type Node, type Spot, broken, links, way } from './path.ts';

const EVERY_MS = 10_000; // media and phones have no events of their own

const SPOTS: Record<Spot, PlainKey> = {
  chrome: 'spot.chrome',
  page: 'spot.page',
  media: 'spot.media',
  sip: 'spot.sip',
};

const PARTS: readonly (readonly [keyof BridgeStatusView['state'], PlainKey])[] = [
  ['page', 'part.page'],
  ['media', 'part.media'],
  ['registration', 'part.registration'],
  ['listener', 'part.listener'],
  ['phones', 'part.phones'],
];

/** Where the path of a call is broken, and what mends it. */
export function Overview() {
  const { t } = useTongue();
  const { api } = useApp();
  const status = useLoad((signal) => api.get<BridgeStatusView>('/call/bridge/status', { signal }), []);
  const session = useLoad((signal) => api.get<SessionView>('/session', { signal }), []);
  const reload = () => {
    status.reload();
    session.reload();
  };
  useEvents(
    ['page.state', 'registration.state', 'account.state', 'call.incoming', 'call.state', 'call.ended'],
    reload,
    reload,
  );
  useTicker(reload, EVERY_MS);
  return (
    <>
      <Title>{t('nav.overview')}</Title>
      <Fault error={status.error} />
      {status.data ? <Path status={status.data} /> : status.loading && <Busy />}
      {session.data && <Session session={session.data} />}
      {status.data && <Parts status={status.data} />}
    </>
  );
}

function Path({ status }: { status: BridgeStatusView }) {
  const { t } = useTongue();
  const nodes = way(status.enabled, status.state);
  const fault = broken(nodes);
  const between = links(nodes);
  return (
    <Card title={t('path.title')}>
      <ol class="path" data-testid="path">
        {nodes.map((node, index) => (
          <Spot key={node.spot} node={node} marked={node === fault} link={between[index] ?? 'idle'} />
        ))}
      </ol>
      {!status.enabled && (
        <Notice>
          {t('path.disabled')} <a href={href('/configuration')}>{t('nav.configuration')}</a>
        </Notice>
      )}
      {fault?.mend && (
        <Notice mood="bad">
          <strong>{t(SPOTS[fault.spot])}:</strong> {t(fault.mend)}{' '}
          {fault.help && <a href={href(fault.help)}>{t(fault.help === '/pairing' ? 'nav.pairing' : 'nav.configuration')}</a>}
          {fault.detail && (
            <p class="detail">
              <Told>{fault.detail}</Told>
            </p>
          )}
        </Notice>
      )}
      {status.enabled && nodes.every((node) => node.mood === 'good') && <Notice mood="good">{t('path.whole')}</Notice>}
    </Card>
  );
}

function Spot({ node, marked, link }: { node: Node; marked: boolean; link: string }) {
  const { t } = useTongue();
  return (
    <li class={`spot ${node.mood} ${marked ? 'marked' : ''}`} data-spot={node.spot} data-mood={node.mood}>
      <span class={`link ${link}`} aria-hidden="true">
        {link === 'cut' ? '✕' : ''}
      </span>
      <span class="spot-box">
        <strong>{t(SPOTS[node.spot])}</strong>
        <Badge mood={node.mood}>{t(node.word)}</Badge>
        {marked && <span class="unseen">{t('path.broken_here')}</span>}
      </span>
    </li>
  );
}

function Session({ session }: { session: SessionView }) {
  const { t } = useTongue();
  return (
    <Card title={t('whatsapp.title')}>
      <dl class="facts">
        <dt>{t('whatsapp.number')}</dt>
        <dd>{session.number ? `+${session.number}` : t('none')}</dd>
        <dt>{t('whatsapp.since')}</dt>
        <dd>
          <Time at={session.since} />
        </dd>
        <dt>{t('whatsapp.takes')}</dt>
        <dd>{t(session.takes_calls ? 'yes' : 'no')}</dd>
        <dt>{t('whatsapp.places')}</dt>
        <dd>{t(session.places_calls ? 'yes' : 'no')}</dd>
        <dt>{t('whatsapp.version')}</dt>
        <dd>{session.whatsapp_version ?? t('none')}</dd>
      </dl>
      {session.missing.length > 0 && (
        <Notice mood="bad">
          {t('whatsapp.missing')} <Told>{session.missing.join(', ')}</Told>
        </Notice>
      )}
    </Card>
  );
}

function Parts({ status }: { status: BridgeStatusView }) {
  const { t } = useTongue();
  return (
    <Card title={t('parts.title')}>
      <Table caption={t('parts.title')} heads={[t('parts.part'), t('parts.state'), t('parts.detail')]}>
        {PARTS.map(([name, label]) => (
          <Part key={name} label={t(label)} part={status.state[name]} />
        ))}
      </Table>
      <p class="hint">{t('parts.calls', { count: status.calls.length })}</p>
    </Card>
  );
}

function Part({ label, part }: { label: string; part: PartView }) {
  return (
    <tr>
      <th scope="row">{label}</th>
      <td>
        <Told>{part.state}</Told>
      </td>
      <td>
        <Told>{part.detail}</Told>
      </td>
    </tr>
  );
}
