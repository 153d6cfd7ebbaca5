/** Views of the parts, their configuration, webhooks and accounts. */
import type { View } from '../app.tsx';
import { Overview } from './overview/overview.tsx';

export const overviewViews: readonly View[] = [
  { path: '/overview', title: 'nav.overview', inNavigation: true, who: 'account', component: Overview },
];

export const accountViews: readonly View[] = [];

export const adminViews: readonly View[] = [];
