/** node bundle.mjs FOLDER: page.js and worklet.js into FOLDER, each one self-contained script. */
import { join } from 'node:path';
import { build } from 'esbuild';

const folder = process.argv[2];
if (!folder) throw new Error('usage: bundle.mjs FOLDER');
const source = (name) => join(import.meta.dirname, '..', 'src', name);

await build({
  entryPoints: { page: source('main.ts'), worklet: source('worklet/entry.ts') },
  outdir: folder,
  bundle: true,
  format: 'iife',
  platform: 'browser',
  target: 'chrome120',
  charset: 'utf8',
  legalComments: 'none',
  logLevel: 'warning',
});
