/** worklet.js is a module of audio worklets and the script of a worker: one file, and one URL that the gateway answers. */

import { runTap } from './tap.ts';
import { registerMedia } from './worklet.ts';

if ('registerProcessor' in globalThis) registerMedia();
else runTap(globalThis as unknown as Parameters<typeof runTap>[0]);
