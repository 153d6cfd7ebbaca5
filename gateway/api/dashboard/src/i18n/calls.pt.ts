import type { en } from './calls.en.ts';

export const pt: Record<keyof typeof en, string> = {
  'nav.live': 'Chamadas ao vivo',
  'nav.records': 'Registro de chamadas',
  'nav.phone': 'Telefone',
};
