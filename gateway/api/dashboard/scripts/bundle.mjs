/** node bundle.mjs FOLDER: index.html and assets/ into FOLDER. Names carry a hash of the content. */
import { copyFile, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { build } from 'esbuild';

const folder = process.argv[2];
if (!folder) throw new Error('usage: bundle.mjs FOLDER');
const here = join(import.meta.dirname, '..');
const assets = join(folder, 'assets');

const { metafile } = await build({
  entryPoints: { main: join(here, 'src', 'main.tsx') },
  outdir: assets,
  absWorkingDir: here,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'browser',
  target: ['chrome123', 'firefox128', 'safari17.5'],
  entryNames: '[name]-[hash]',
  chunkNames: 'part-[hash]',
  minify: true,
  metafile: true,
  charset: 'utf8',
  legalComments: 'none',
  logLevel: 'warning',
});

const made = Object.keys(metafile.outputs).map((path) => basename(path));
const one = (pattern) => {
  const found = made.filter((name) => pattern.test(name));
  if (found.length !== 1) throw new Error(`one file ${pattern} was expected: ${made.join(', ')}`);
  return found[0];
};
const page = (await readFile(join(here, 'index.html'), 'utf8'))
  .replace('MAIN.js', one(/^main-\w+\.js$/))
  .replace('MAIN.css', one(/^main-\w+\.css$/));

await mkdir(assets, { recursive: true });
await copyFile(join(here, 'icon.svg'), join(assets, 'icon.svg'));
// What is bundled: its licences want to be where it goes.
const { dependencies } = JSON.parse(await readFile(join(here, 'package.json'), 'utf8'));
const licences = [];
for (const name of Object.keys(dependencies)) {
  const package_ = join(here, 'node_modules', name);
  const licence = (await readdir(package_)).find((file) => /^licen[cs]e/i.test(file));
  if (!licence) throw new Error(`${name} has no licence file`);
  licences.push(`${name}\n\n${await readFile(join(package_, licence), 'utf8')}`);
}
await writeFile(join(assets, 'licences.txt'), licences.join('\n\n'));
await writeFile(join(folder, 'index.html'), page);
