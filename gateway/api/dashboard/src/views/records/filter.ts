/** The filters of `GET /calls`, as the address bar keeps them and as the API takes them. Pure. */
import type { Query } from '../../api.ts';

export const FILTERS = ['number', 'direction', 'origin', 'result', 'reason', 'answered', 'since', 'until'] as const;
export type FilterName = (typeof FILTERS)[number];
export type Filter = Readonly<Record<FilterName, string>>;

export const NO_FILTER: Filter = { number: '', direction: '', origin: '', result: '', reason: '', answered: '', since: '', until: '' };

/** Out of the address bar; anything else in it is left alone. */
export function filterOf(query: URLSearchParams): Filter {
  const filter: Record<FilterName, string> = { ...NO_FILTER };
  for (const name of FILTERS) filter[name] = query.get(name) ?? '';
  return filter;
}

/** Into the address bar: only what is set. */
export function placeOf(filter: Filter): Record<string, string> {
  const place: Record<string, string> = {};
  for (const name of FILTERS) if (filter[name].trim() !== '') place[name] = filter[name].trim();
  return place;
}

/** For the API: a number as people write it loses its blanks, an instant of the form's clock becomes UTC. */
export function askedOf(filter: Filter): Query {
  const asked: Query = placeOf(filter);
  if (filter.number.trim() !== '') asked.number = filter.number.replace(/[\s().-]/g, '');
  for (const name of ['since', 'until'] as const) {
    const instant = new Date(filter[name]);
    if (filter[name] !== '' && !Number.isNaN(instant.getTime())) asked[name] = instant.toISOString();
  }
  return asked;
}
