/** Words in the person's language. A key that one language lacks, or a parameter that is not given, fails tsc. */
import { type ComponentChildren, createContext } from 'preact';
import { useContext, useEffect, useMemo, useState } from 'preact/hooks';
import { en as callsEn } from './calls.en.ts';
import { pt as callsPt } from './calls.pt.ts';
import { en as coreEn } from './core.en.ts';
import { pt as corePt } from './core.pt.ts';

export type Language = 'en' | 'pt-BR';

const en = { ...coreEn, ...callsEn };
const words: Record<Language, Record<Key, string>> = { en, 'pt-BR': { ...corePt, ...callsPt } };

type Words = typeof en;
export type Key = keyof Words;
/** Names in braces of a sentence. */
type Names<S extends string> = S extends `${string}{${infer Name}}${infer Rest}` ? Name | Names<Rest> : never;
type Parameters<K extends Key> = [Names<Words[K]>] extends [never]
  ? []
  : [values: Record<Names<Words[K]>, string | number>];
/** Keys of sentences without parameters, for tables of words. */
export type PlainKey = { [K in Key]: [Names<Words[K]>] extends [never] ? K : never }[Key];

export interface Tongue {
  language: Language;
  setLanguage: (language: Language) => void;
  t: <K extends Key>(key: K, ...values: Parameters<K>) => string;
  /** A point in time, in short or to the second. */
  when: (instant: string | Date, style?: 'short' | 'exact') => string;
  number: (value: number, digits?: number) => string;
}

const STORED = 'ponte.language';

export function translate(language: Language, key: Key, values: Record<string, string | number> = {}): string {
  return words[language][key].replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** The stored choice, else the first of the browser's languages that we speak. */
export function firstLanguage(stored: string | null, wanted: readonly string[]): Language {
  if (stored === 'en' || stored === 'pt-BR') return stored;
  for (const one of wanted) {
    if (/^pt\b/i.test(one)) return 'pt-BR';
    if (/^en\b/i.test(one)) return 'en';
  }
  return 'en';
}

const Context = createContext<Tongue | null>(null);

export function Speaking({ children }: { children: ComponentChildren }) {
  const [language, setLanguage] = useState(() => firstLanguage(localStorage.getItem(STORED), navigator.languages));
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  const tongue = useMemo<Tongue>(() => {
    const short = new Intl.DateTimeFormat(language, { dateStyle: 'short', timeStyle: 'short' });
    const exact = new Intl.DateTimeFormat(language, { dateStyle: 'short', timeStyle: 'medium' });
    return {
      language,
      setLanguage(chosen) {
        localStorage.setItem(STORED, chosen);
        setLanguage(chosen);
      },
      t: (key, ...values) => translate(language, key, values[0]),
      when: (instant, style = 'short') => (style === 'short' ? short : exact).format(new Date(instant)),
      number: (value, digits = 0) =>
        new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value),
    };
  }, [language]);
  return <Context.Provider value={tongue}>{children}</Context.Provider>;
}

export function useTongue(): Tongue {
  const tongue = useContext(Context);
  if (!tongue) throw new Error('useTongue outside of Speaking');
  return tongue;
}
