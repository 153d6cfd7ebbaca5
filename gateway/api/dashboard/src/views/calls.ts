/** Views of calls. */
import type { View } from '../app.tsx';
import './calls.css';
import { Live } from './live/live.tsx';
import { PhoneView } from './phone/phone.tsx';
import { Record } from './records/record.tsx';
import { Records } from './records/records.tsx';

export const callViews: readonly View[] = [
  { path: '/live', title: 'nav.live', inNavigation: true, who: 'account', component: Live },
  { path: '/calls', title: 'nav.records', inNavigation: true, who: 'account', component: Records },
  { path: '/calls/:id', title: 'record.title', inNavigation: false, under: '/calls', who: 'account', component: Record },
  { path: '/phone', title: 'nav.phone', inNavigation: true, who: 'account', component: PhoneView },
];
