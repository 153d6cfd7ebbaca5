import { useState } from 'preact/hooks';
import { useTongue } from '../../i18n/index.tsx';
import { Button, Field, Select } from '../../ui/index.tsx';
import { DIRECTION, RESULT } from '../words.ts';
import { type Filter, type FilterName, NO_FILTER } from './filter.ts';

export function FilterForm({ filter, onFilter }: { filter: Filter; onFilter: (filter: Filter) => void }) {
  const { t } = useTongue();
  const [wanted, setWanted] = useState(filter);
  const set = (name: FilterName) => (value: string) => setWanted((before) => ({ ...before, [name]: value }));
  const any: readonly [string, string] = ['', t('filter.any')];
  return (
    <form
      class="filters"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        onFilter(wanted);
      }}
    >
      <Field
        label={t('filter.number')}
        inputMode="tel"
        autoComplete="off"
        value={wanted.number}
        onInput={(event) => set('number')(event.currentTarget.value)}
      />
      <Select
        label={t('records.direction')}
        value={wanted.direction}
        options={[
          any,
          ['whatsapp_to_sip', t(DIRECTION.whatsapp_to_sip)],
          ['sip_to_whatsapp', t(DIRECTION.sip_to_whatsapp)],
        ]}
        onChange={set('direction')}
      />
      <Select
        label={t('filter.answered')}
        value={wanted.answered}
        options={[any, ['true', t('yes')], ['false', t('no')]]}
        onChange={set('answered')}
      />
      <Select
        label={t('records.ending')}
        value={wanted.result}
        options={[any, ...Object.entries(RESULT).map(([value, key]) => [value, t(key)] as const)]}
        onChange={set('result')}
      />
      <Field
        label={t('filter.since')}
        type="datetime-local"
        value={wanted.since}
        onInput={(event) => set('since')(event.currentTarget.value)}
      />
      <Field
        label={t('filter.until')}
        type="datetime-local"
        value={wanted.until}
        onInput={(event) => set('until')(event.currentTarget.value)}
      />
      <div class="actions">
        <Button kind="main" type="submit">
          {t('filter.go')}
        </Button>
        <Button
          onClick={() => {
            setWanted(NO_FILTER);
            onFilter(NO_FILTER);
          }}
        >
          {t('filter.clear')}
        </Button>
      </div>
    </form>
  );
}
