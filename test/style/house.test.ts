import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const maxLines = 500;

function filesOf(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name));
}

const sources = filesOf('src');

/** The room of a file: its folder below src, or `root`. */
function roomOf(file: string): string {
  const parts = relative('src', file).split('/');
  return parts.length === 1 ? 'root' : (parts[0] ?? '');
}

/** What each room may import besides itself. The wiring files may import everything. */
const allowed: Record<string, readonly string[]> = {
  api: [],
  root: ['api'],
  engine: ['api', 'root'],
  models: ['api', 'root'],
  stores: ['api', 'root'],
  http: ['api', 'root', 'engine'],
};
const wiring = new Set(['src/main.ts', 'src/server.ts', 'src/exposure.ts', 'src/open-store.ts', 'src/commands.ts']);

function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((match) =>
    relative(root, resolve(root, dirname(file), match[1] ?? '')),
  );
}

it('every import is allowed between its rooms', () => {
  const forbidden = sources.flatMap((file) => {
    if (wiring.has(file)) return [];
    const room = roomOf(file);
    return importsOf(file)
      .filter((target) => {
        if (wiring.has(target)) return file !== 'src/main.ts';
        const other = roomOf(target);
        return other !== room && !(allowed[room] ?? []).includes(other);
      })
      .map((target) => `${file} imports ${target}`);
  });
  expect(forbidden).toEqual([]);
  expect(sources.length).toBeGreaterThan(40);
});

it('stores do not import each other, nor models of one protocol another', () => {
  const forbidden = sources.flatMap((file) => {
    const [, room, inner] = file.split('/');
    if ((room !== 'stores' && room !== 'models') || inner?.endsWith('.ts') === true) return [];
    return importsOf(file)
      .filter(
        (target) =>
          target.startsWith(`src/${room}/`) &&
          !target.startsWith(`src/${room}/${inner}/`) &&
          // What all protocols over HTTP share.
          !target.startsWith('src/models/upstream/') &&
          target.split('/').length > 3,
      )
      .map((target) => `${file} imports ${target}`);
  });
  expect(forbidden).toEqual([]);
});

it('only the assembler and the items that it opens write events', () => {
  const writers = sources.filter((file) =>
    /['"]response\.(?:output|content|function|created|in_progress|reason)/.test(readFileSync(join(root, file), 'utf8')),
  );
  // A model that reads an upstream's events names them, too.
  const rooms = ['src/api/', 'src/models/responses/'];
  expect(writers.filter((file) => !rooms.some((room) => file.startsWith(room)))).toEqual([
    'src/engine/assembler.ts',
    'src/engine/hosted-item.ts',
    'src/engine/output-items.ts',
    'src/engine/reasoning-item.ts',
  ]);
});

it('only config.ts reads the environment', () => {
  const readers = sources.filter((file) => /process\.env\b/.test(readFileSync(join(root, file), 'utf8')));
  expect(readers).toEqual(['src/config.ts']);
});

it(`no file has more than ${maxLines} lines, and every name is kebab-case`, () => {
  const files = [...sources, ...filesOf('test'), ...filesOf('bench')];
  const long = files.filter((file) => readFileSync(join(root, file), 'utf8').split('\n').length > maxLines + 1);
  expect(long).toEqual([]);
  expect(files.filter((file) => !/^[a-z0-9-]+(?:\.test)?\.ts$/.test(file.split('/').at(-1) ?? ''))).toEqual([]);
});

it('no barrels, no utils', () => {
  expect(sources.filter((file) => /(?:^|\/)(?:index|utils?)(?:\.ts|\/)/.test(file))).toEqual([]);
});

it('the architecture names every room', () => {
  const text = readFileSync(join(root, 'docs/architecture.md'), 'utf8');
  const rooms = new Set(sources.map(roomOf).filter((room) => room !== 'root'));
  expect([...rooms].filter((room) => !text.includes(`${room}/`))).toEqual([]);
});
