import { useId } from 'preact/hooks';
import type { CallView } from '../../api.gen.ts';
import { type PlainKey, useTongue } from '../../i18n/index.tsx';
import { HOP } from '../words.ts';
import { figuresOf, FLOOR_DBFS, type HopState, hopsOf, meter } from './figures.ts';

const HOP_STATE: Readonly<Record<HopState, PlainKey>> = {
  well: 'hop.state.well',
  silent: 'hop.state.silent',
  broken: 'hop.state.broken',
  unknown: 'hop.state.unknown',
};

/** One direction of a call: how loud, how late, how whole, and by which hops. */
export function Way({ way, call }: { way: 'wa_to_sip' | 'sip_to_wa'; call: CallView }) {
  const { t, number } = useTongue();
  const id = useId();
  const figures = figuresOf(way, call.path, call.quality);
  const shown = (value: number | null, digits: number, unit: string): string =>
    value === null ? t('figure.unknown') : `${number(value, digits)}${unit}`;
  const level = shown(figures.level_dbfs, 0, ' dBFS');
  return (
    <section class="way" aria-labelledby={id}>
      <h3 id={id}>{t(`way.${way}`)}</h3>
      <div
        class="meter"
        role="meter"
        aria-label={t('figure.level')}
        aria-valuemin={FLOOR_DBFS}
        aria-valuemax={0}
        aria-valuenow={Math.max(FLOOR_DBFS, Math.min(0, figures.level_dbfs ?? FLOOR_DBFS))}
        aria-valuetext={level}
      >
        <div class="meter-bar" style={{ width: `${meter(figures.level_dbfs)}%` }} />
      </div>
      <dl class="figures">
        <Figure name={t('figure.level')} value={level} />
        <Figure name={t('figure.delay')} value={shown(figures.delay_ms, 0, ' ms')} />
        <Figure name={t('figure.loss')} value={shown(figures.loss_percent, 1, ' %')} />
        <Figure name={t('figure.mos')} value={shown(figures.mos, 1, '')} />
      </dl>
      {call.path !== null && (
        <ol class="hops">
          {hopsOf(call.path[way], call.path.broken).map(({ view, state }) => (
            <li key={view.hop} class={`hop ${state}`}>
              <span class="hop-name">{t(HOP[view.hop])}</span>
              <span class="hop-state">{t(HOP_STATE[state])}</span>
              <span class="hop-level">{view.level_dbfs === null ? '' : shown(view.level_dbfs, 0, ' dBFS')}</span>
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}

export function Figure({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
