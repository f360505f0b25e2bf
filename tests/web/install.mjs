// Installs what package-lock.json names, as `npm ci` does: Debian's npm alone is more than 370 packages.
//
// usage: node install.mjs FOLDER
//
// FOLDER has a package-lock.json whose packages have no dependencies of their own. Each must have the checksum that it names.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

const [folder] = process.argv.slice(2);
const registry = (process.env.npm_config_registry || 'https://registry.npmjs.org').replace(/\/$/, '');
const lock = JSON.parse(await readFile(join(folder, 'package-lock.json'), 'utf8'));

for (const [path, { version, integrity }] of Object.entries(lock.packages)) {
  if (!path) continue;
  const name = path.replace(/^node_modules\//, '');
  const answer = await fetch(`${registry}/${name}/-/${name}-${version}.tgz`);
  if (!answer.ok) throw new Error(`${name} ${version}: ${answer.status}`);
  const bytes = Buffer.from(await answer.arrayBuffer());
  const found = `sha512-${createHash('sha512').update(bytes).digest('base64')}`;
  if (found !== integrity) throw new Error(`${name} ${version} has the checksum ${found}, and not ${integrity}`);
  await mkdir(join(folder, path), { recursive: true });
  execFileSync('tar', ['-xz', '--strip-components=1', '-C', join(folder, path)], { input: bytes });
  console.log(`${name} ${version}`);
}
