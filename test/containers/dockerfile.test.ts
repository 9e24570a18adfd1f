import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { validate } from 'dockerfile-utils';
import { expect, it } from 'vitest';
import { settings } from '../../src/settings.ts';
import { load } from '../config/load.ts';
import { root } from './compose-file.ts';
import {
  contextEntries,
  execForm,
  healthCommand,
  isInContext,
  lastOf,
  pairsOf,
  parseStages,
  readDockerfile,
  type Stage,
} from './dockerfile.ts';

const content = readDockerfile();
const stages = parseStages(content);
const image = stages.at(-1) as Stage;
const instructions = stages.flatMap((stage) => stage.instructions);

it('a linter finds nothing', () => {
  expect(validate(content)).toEqual([]);
});

it.each(['RUNN ls', 'MAINTAINER somebody', 'EXPOSE many', 'HEALTHCHECK --interval=often CMD true'])(
  'the linter would find %s',
  (line) => {
    expect(validate(`${content}\n${line}\n`)).not.toEqual([]);
  },
);

it('every stage is of the same image, whose Node.js is of the major version that the checkout brings', () => {
  const text = readFileSync(join(root, 'tools/node/package.json'), 'utf8');
  const { optionalDependencies } = JSON.parse(text) as { optionalDependencies: Record<string, string> };
  const majors = new Set(Object.values(optionalDependencies).map((version) => version.split('.')[0]));
  expect(majors.size).toBe(1);
  expect(new Set(stages.map((stage) => stage.image))).toEqual(new Set([`node:${[...majors][0]}-bookworm-slim`]));
});

it('the server runs as a user without rights, whose number is known', () => {
  expect(lastOf(image, 'USER')?.text).toBe('1000:1000');
  const after = image.instructions.slice(image.instructions.findLastIndex(({ keyword }) => keyword === 'USER'));
  expect(after.map(({ keyword }) => keyword)).not.toContain('RUN');
});

it('signals reach the server: no shell is between, and the first one is SIGTERM', () => {
  expect(execForm(lastOf(image, 'ENTRYPOINT')?.text)).toEqual(['node', '/app/bin/open-responses.js']);
  expect(execForm(lastOf(image, 'CMD')?.text)).toEqual(['serve']);
  expect(lastOf(image, 'STOPSIGNAL')?.text).toBe('SIGTERM');
});

it('the health check is asked of Node.js, within bounds', () => {
  expect(healthCommand(image).slice(0, 2)).toEqual(['node', '-e']);
  const { interval, timeout, retries } = lastOf(image, 'HEALTHCHECK')?.flags ?? {};
  expect(Number.parseInt(timeout ?? '', 10)).toBeLessThan(Number.parseInt(interval ?? '', 10));
  expect(Number(retries)).toBeGreaterThan(0);
});

it('the environment is one that the server understands, and its port is the one that is exposed', () => {
  const config = load({ env: pairsOf(image, 'ENV') });
  expect(config.server).toMatchObject({ host: '0.0.0.0', port: Number(lastOf(image, 'EXPOSE')?.text) });
  expect(lastOf(image, 'EXPOSE')?.text).toBe(settings['server.port'].default);
  expect(config.store.type).toBe('sqlite');
  expect(config.auth.mode).toBe('passthrough');
  expect([...config.providers]).toEqual([]);
});

it('the labels say what it is', () => {
  const { license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { license: string };
  const labels = pairsOf(image, 'LABEL');
  expect(labels['org.opencontainers.image.licenses']).toBe(license);
  expect(labels['org.opencontainers.image.title']).toBe('OpenResponses');
});

it('nothing secret can get in, and nothing unpinned', () => {
  expect(new Set(instructions.map(({ keyword }) => keyword))).not.toContain('ADD');
  expect(new Set(instructions.map(({ keyword }) => keyword))).not.toContain('ARG');
  expect(Object.keys(pairsOf(image, 'ENV')).filter((name) => /KEY|TOKEN|SECRET|PASSWORD/.test(name))).toEqual([]);
  const commands = instructions.filter(({ keyword }) => keyword === 'RUN').map(({ text }) => text);
  expect(commands.filter((text) => /curl|wget|apt|npx|npm (?:i|install)\b|https?:/.test(text))).toEqual([]);
  const installs = commands.filter((text) => text.includes('npm ci'));
  expect(installs.length).toBe(2);
  for (const text of installs) expect(text).toMatch(/--workspaces=false .*--ignore-scripts/);
});

it('what is copied is in the build context, and nothing else is', () => {
  const copied = instructions
    .filter(({ keyword, flags }) => keyword === 'COPY' && flags['from'] === undefined)
    .flatMap(({ text }) => text.split(/\s+/).slice(0, -1));
  expect(copied.filter((path) => !isInContext(path))).toEqual([]);
  expect(contextEntries().toSorted()).toEqual([...new Set(copied)].toSorted());
  for (const path of ['.git', '.env', '.npmrc', 'node_modules', 'test', 'open-responses.properties', 'tools/node']) {
    expect(isInContext(path), path).toBe(false);
  }
});
