/** The views, in the order of the navigation; the first one of a kind of key is its home. */
import type { View } from '../app.tsx';
import { callViews } from './calls.ts';
import { accountViews, adminViews, overviewViews } from './core.ts';

export const views: readonly View[] = [...overviewViews, ...callViews, ...accountViews, ...adminViews];
