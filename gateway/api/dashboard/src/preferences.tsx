import { useState } from 'preact/hooks';
import { type Language, useTongue } from './i18n/index.tsx';
import { type Theme, chooseTheme, storedTheme } from './theme.ts';
import { Select } from './ui/index.tsx';

/** Language and colours. */
export function Preferences() {
  const { t, language, setLanguage } = useTongue();
  const [theme, setTheme] = useState(storedTheme);
  return (
    <div class="preferences">
      <Select
        label={t('language')}
        value={language}
        options={[
          ['en', 'English'],
          ['pt-BR', 'Português (Brasil)'],
        ]}
        onChange={(value) => setLanguage(value as Language)}
      />
      <Select
        label={t('theme')}
        value={theme}
        options={[
          ['auto', t('theme.auto')],
          ['light', t('theme.light')],
          ['dark', t('theme.dark')],
        ]}
        onChange={(value) => {
          setTheme(value as Theme);
          chooseTheme(value as Theme);
        }}
      />
    </div>
  );
}
