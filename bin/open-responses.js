#!/usr/bin/env node
// Plain JavaScript that old versions of Node.js can read too, so that they get one clear line and no syntax error.
import { existsSync } from 'node:fs';

const lowestMajor = 24;

if (Number(process.versions.node.split('.')[0]) < lowestMajor) {
  process.stderr.write(`open-responses needs Node.js ${lowestMajor} or newer: this is ${process.version}.\n`);
  process.exitCode = 2;
} else {
  // A published package holds dist, a checkout may hold src alone, which Node.js runs as it is.
  const built = new URL('../dist/main.js', import.meta.url);
  const entry = existsSync(built) ? built : new URL('../src/main.ts', import.meta.url);
  import(entry.href).then((module) => module.main());
}
