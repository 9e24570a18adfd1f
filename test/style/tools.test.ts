import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

// Run from here, so that what they find counts among the tests that failed.
it.each([
  ['biome', ['node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.']],
  ['the TypeScript compiler', ['node_modules/typescript/bin/tsc', '--noEmit']],
  ['knip', ['node_modules/knip/bin/knip.js', '--no-progress']],
])('%s finds nothing', { timeout: 120_000 }, (_name, args) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
  expect(status, `${stdout}\n${stderr}`).toBe(0);
});
