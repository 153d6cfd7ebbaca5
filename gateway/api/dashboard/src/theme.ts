/** Light or dark: the system's, unless the person chose. */
export const THEMES = ['auto', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

const STORED = 'ponte.theme';

export function storedTheme(): Theme {
  const found = localStorage.getItem(STORED);
  return THEMES.find((one) => one === found) ?? 'auto';
}

export function applyTheme(theme: Theme): void {
  document.documentElement.dataset.theme = theme;
}

export function chooseTheme(theme: Theme): void {
  localStorage.setItem(STORED, theme);
  applyTheme(theme);
}
