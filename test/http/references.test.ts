import { expect, it } from 'vitest';
import { type Json, serve, type TestServer } from '../support/harness.ts';
import { errorOf } from '../support/open-server.ts';

const mebi = 1024 * 1024;

/** Items of 8 MiB each, in a conversation of their own. */
async function makeLarge(server: TestServer, count: number): Promise<Json[]> {
  const { id } = (await server.post('/v1/conversations', {})).body;
  const references: Json[] = [];
  for (let index = 0; index < count; index += 1) {
    const item = { type: 'message', role: 'user', content: 'x'.repeat(8 * mebi) };
    const added = await server.post(`/v1/conversations/${id}/items`, { items: [item] });
    expect(added.status).toBe(200);
    references.push({ type: 'item_reference', id: added.body.data[0].id });
  }
  return references;
}

it('R10 references to more than a server would show at once are refused before anything is written', async () => {
  const server = await serve();
  const references = await makeLarge(server, 4);
  const path = `/v1/conversations/${(await server.post('/v1/conversations', {})).body.id}/items`;
  const refused = [
    await server.post(path, { items: references }),
    await server.post('/v1/conversations', { items: references }),
    await server.post('/v1/responses', { model: 'demo', input: references }),
  ];
  for (const answer of refused) {
    expect(errorOf(answer)).toBe('400 null');
    expect(answer.body.error).toMatchObject({ param: 'input', message: expect.stringContaining('referred to') });
  }
  expect((await server.get(path)).body.data).toEqual([]);
  const added = await server.post(path, { items: references.slice(0, 3) });
  expect(added.status).toBe(200);
  const shown = references.slice(0, 3).map(({ id }) => id);
  expect(added.body.data.map(({ id }: Json) => id)).toEqual(shown);
  expect((await server.get(path)).body.data.map(({ id }: Json) => id)).toEqual(shown.toReversed());
});

it('a list of references to large items comes in several pages', async () => {
  const server = await serve();
  const references = await makeLarge(server, 6);
  const path = `/v1/conversations/${(await server.post('/v1/conversations', {})).body.id}/items`;
  for (const at of [0, 3]) await server.post(path, { items: references.slice(at, at + 3) });
  const seen: string[] = [];
  const pages: number[] = [];
  for (let after = ''; ; after = `&after=${seen.at(-1)}`) {
    const { body } = await server.get(`${path}?limit=100&order=asc${after}`);
    expect(JSON.stringify(body).length).toBeLessThan(33 * mebi);
    pages.push(body.data.length);
    seen.push(...body.data.map(({ id }: Json) => id));
    if (body.has_more !== true) break;
  }
  expect(seen).toEqual(references.map(({ id }) => id));
  expect(pages).toEqual([3, 3]);
});
