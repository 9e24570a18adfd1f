import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { profiles } from '../../src/models/profiles.ts';
import { providersPage } from '../../tools/providers-page.ts';

describe('docs/providers.md', () => {
  const page = providersPage();

  it('is what `npm run docs` makes of the table', () => {
    expect(readFileSync(new URL('../../docs/providers.md', import.meta.url), 'utf8')).toBe(page);
  });

  it.each([...profiles.values()])('says what $name takes, with its notes and sources', (profile) => {
    const rows = page.split('\n').filter((line) => line.startsWith(`| [\`${profile.name}\`](#`));
    expect(rows).toHaveLength(1);
    const section = page.split('\n## ').find((each) => each.startsWith(`${profile.title}\n`)) ?? '';
    for (const note of profile.notes) expect(section).toContain(`- ${note}\n`);
    for (const { url, read } of profile.sources) expect(section).toContain(`- <${url}> (${read})`);
    expect(section).not.toContain('undefined');
  });

  it('has a heading for every link of the table', () => {
    const headings = [...page.matchAll(/^## (.*)$/gm)].map(([, title = '']) => title);
    const anchors = headings.map((title) =>
      title
        .toLowerCase()
        .replaceAll(' ', '-')
        .replace(/[^\w-]/g, ''),
    );
    const links = [...page.matchAll(/\]\(#(.*?)\)/g)].map(([, link]) => link);
    expect(links.length).toBe(profiles.size);
    for (const link of links) expect(anchors).toContain(link);
  });
});
