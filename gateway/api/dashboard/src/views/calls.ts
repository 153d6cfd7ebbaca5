/** Views of calls. */
import type { View } from '../app.tsx';

export const callViews: readonly View[] = [];
