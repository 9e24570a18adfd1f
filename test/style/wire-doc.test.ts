import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const wire = readFileSync(join(root, 'docs/wire.md'), 'utf8');
const rules = Array.from({ length: 17 }, (_, index) => `R${index + 1}`);

function filesOf(folder: string): { name: string; text: string }[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => ({ name: join(folder, name), text: readFileSync(join(root, folder, name), 'utf8') }));
}

function matches(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map((match) => match[1] ?? '');
}

it('docs/wire.md defines every State rule once, in order', () => {
  expect(matches(wire, /^- \*\*(R\d+)\b/gm)).toEqual(rules);
});

it('every State rule has a test whose title begins with it', () => {
  // Titles that stand for several rules begin with all of them: 'R4 R5 R6 nothing stays'.
  const titles = filesOf('test').flatMap(({ text }) => matches(text, /['"`]((?:R\d+ )+)\S/g));
  const tested = new Set(titles.flatMap((title) => title.trim().split(' ')));
  expect(rules.filter((rule) => !tested.has(rule))).toEqual([]);
});

it('every section and rule that is cited exists', () => {
  const sections = new Set(matches(wire, /^## §(\d+) /gm));
  const known = new Set(rules);
  const cited = ['src', 'test', 'bench'].flatMap(filesOf);
  const wrong = cited.flatMap(({ name, text }) => [
    ...matches(text, /docs\/wire\.md §(\d+)/g)
      .filter((section) => !sections.has(section))
      .map((section) => `${name}: §${section}`),
    ...matches(text, /\b(R\d+)\b/g)
      .filter((rule) => !known.has(rule))
      .map((rule) => `${name}: ${rule}`),
  ]);
  expect(wrong).toEqual([]);
  expect([...sections]).toEqual(['1', '2', '3', '4', '5', '6', '7']);
});
