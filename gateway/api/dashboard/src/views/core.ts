/** Views of the parts, their configuration, webhooks and accounts. */
import type { View } from '../app.tsx';
import { Accounts } from './accounts/list.tsx';
import { Account } from './accounts/one.tsx';
import { Configuration } from './configuration/configuration.tsx';
import { Overview } from './overview/overview.tsx';
import { Pairing } from './pairing/pairing.tsx';
import { Webhooks } from './webhooks/list.tsx';
import { Webhook } from './webhooks/one.tsx';

export const overviewViews: readonly View[] = [
  { path: '/overview', title: 'nav.overview', inNavigation: true, who: 'account', component: Overview },
];

export const accountViews: readonly View[] = [
  { path: '/pairing', title: 'nav.pairing', inNavigation: true, who: 'account', component: Pairing },
  { path: '/configuration', title: 'nav.configuration', inNavigation: true, who: 'account', component: Configuration },
  { path: '/webhooks', title: 'nav.webhooks', inNavigation: true, who: 'account', component: Webhooks },
  { path: '/webhooks/:id', title: 'hooks.one', inNavigation: false, under: '/webhooks', who: 'account', component: Webhook },
];

export const adminViews: readonly View[] = [
  { path: '/accounts', title: 'nav.accounts', inNavigation: true, who: 'admin', component: Accounts },
  { path: '/accounts/:name', title: 'accounts.one', inNavigation: false, under: '/accounts', who: 'admin', component: Account },
];
