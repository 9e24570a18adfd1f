import { setTimeout as pause } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { eventsOf, type Json, sharedStoreTypes, storeSettings } from '../support/harness.ts';
import { serverChild } from '../support/server-child.ts';

const races = 1_000;

type Asked = { readonly status: number; readonly body: Json };

async function ask(url: string, method: string, path: string, body?: object): Promise<Asked> {
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${url}${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) });
  return { status: answer.status, body: await answer.json() };
}

function say(url: string, text: string, where: object): Promise<Asked> {
  return ask(url, 'POST', '/v1/responses', { model: 'demo', input: `Say exactly: ${text}`, ...where });
}

async function newConversation(url: string): Promise<string> {
  return (await ask(url, 'POST', '/v1/conversations', {})).body.id;
}

async function texts(url: string, path: string): Promise<string[]> {
  const all: string[] = [];
  for (let after = ''; ; ) {
    const { body } = await ask(url, 'GET', `${path}?order=asc&limit=100${after}`);
    all.push(...body.data.map((item: Json) => item.content[0].text));
    if (!body.has_more) return all;
    after = `&after=${body.last_id}`;
  }
}

function itemsOf(url: string, conversation: string): Promise<string[]> {
  return texts(url, `/v1/conversations/${conversation}/items`);
}

async function twoServers(store: (typeof sharedStoreTypes)[number], more: Record<string, string> = {}) {
  const settings = { ...more, ...(await storeSettings(store)) };
  return Promise.all([serverChild(settings), serverChild(settings)]);
}

/** Asks until the conversation is free, as a client does that heeds `conversation_locked`. */
async function sayWhenFree(url: string, text: string, conversation: string): Promise<Asked> {
  for (let attempts = 0; attempts < 400; attempts += 1) {
    const answer = await say(url, text, { conversation });
    if (answer.body.error?.code !== 'conversation_locked') return answer;
    await pause(25);
  }
  throw new Error('the conversation stays locked');
}

it.each(sharedStoreTypes)('what one server was told is read at once on the other (%s)', async (store) => {
  const [one, other] = await twoServers(store);
  const conversation = await newConversation(one.url);
  const expected: string[] = [];
  let last: string | undefined;
  for (let turn = 0; turn < 20; turn += 1) {
    const [writer, reader] = turn % 2 === 0 ? [one.url, other.url] : [other.url, one.url];
    const told = await say(writer, `turn ${turn}`, { conversation });
    expect(told.status).toBe(200);
    expect(await ask(reader, 'GET', `/v1/responses/${told.body.id}`)).toEqual(told);
    expected.push(`Say exactly: turn ${turn}`, `turn ${turn}`);
    expect(await itemsOf(reader, conversation)).toEqual(expected);
    const link: Asked = await say(reader, `link ${turn}`, { previous_response_id: last ?? null, store: true });
    last = link.body.id;
    expect(await texts(writer, `/v1/responses/${last}/input_items`)).toHaveLength(turn * 2 + 1);
  }
  await ask(one.url, 'DELETE', `/v1/conversations/${conversation}`);
  expect((await ask(other.url, 'GET', `/v1/conversations/${conversation}`)).status).toBe(404);
  expect((await ask(one.url, 'GET', `/v1/responses/${last}`)).status).toBe(200);
  await ask(other.url, 'DELETE', `/v1/responses/${last}`);
  expect((await ask(one.url, 'GET', `/v1/responses/${last}`)).status).toBe(404);
});

it.each(sharedStoreTypes)(
  `two servers race ${races} times for one conversation: each turn once and whole (%s)`,
  {
    timeout: 180_000,
  },
  async (store) => {
    const [one, other] = await twoServers(store);
    const conversation = await newConversation(one.url);
    const told: string[] = [];
    for (let race = 0; race < races; race += 1) {
      const names = [`one ${race}`, `other ${race}`];
      const answers = await Promise.all([
        say(one.url, names[0] ?? '', { conversation }),
        say(other.url, names[1] ?? '', { conversation }),
      ]);
      for (const [index, { status, body }] of answers.entries()) {
        if (status === 200) told.push(names[index] ?? '');
        else expect(body.error.code).toBe('conversation_locked');
      }
      expect(answers.some(({ status }) => status === 200)).toBe(true);
    }
    const items = await itemsOf(other.url, conversation);
    expect(items).toHaveLength(told.length * 2);
    expect(new Set(items).size).toBe(items.length);
    for (const text of told) expect(items[items.indexOf(text) - 1]).toBe(`Say exactly: ${text}`);
  },
);

it.each(sharedStoreTypes)(
  `two servers continue one response ${races} times: each has its own past (%s)`,
  {
    timeout: 180_000,
  },
  async (store) => {
    const [one, other] = await twoServers(store);
    let base = await say(one.url, 'turn 0', { store: true });
    let depth = 1;
    const known = new Set([base.body.id]);
    for (let race = 0; race < races; race += 1) {
      const where = { previous_response_id: base.body.id, store: true };
      const answers = await Promise.all([say(one.url, `one ${race}`, where), say(other.url, `other ${race}`, where)]);
      for (const { status, body } of answers) {
        expect(status).toBe(200);
        known.add(body.id);
      }
      // Now and then the next race is one turn further, for another winner each time.
      if (race % 50 === 49) {
        base = answers[race % 100 === 49 ? 0 : 1] ?? base;
        depth += 1;
        for (const [index, { body }] of answers.entries()) {
          const url = index === 0 ? other.url : one.url;
          const past = await texts(url, `/v1/responses/${body.id}/input_items`);
          expect(past).toHaveLength(depth * 2 - 1);
          expect(past.at(-1)).toBe(`Say exactly: ${index === 0 ? 'one' : 'other'} ${race}`);
        }
      }
    }
    expect(known.size).toBe(races * 2 + 1);
  },
);

const slow = { 'demo.chunk-delay': '50ms', 'demo.chunk-size': '1', 'conversation.lease': '600ms' };

/** A turn that takes a while, begun on a server; its stream is read until the first words have come. */
async function beginTurn(url: string, conversation: string): Promise<ReadableStreamDefaultReader<Uint8Array>> {
  const answer = await fetch(`${url}/v1/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'demo', input: `Say exactly: ${'slow '.repeat(60)}`, conversation, stream: true }),
  });
  const reader = answer.body?.getReader();
  if (reader === undefined) throw new Error('no stream');
  let text = '';
  while (!text.includes('output_text.delta')) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the stream ended: ${text}`);
    text += new TextDecoder().decode(value);
  }
  return reader;
}

async function rest(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<string> {
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return text;
    text += new TextDecoder().decode(value);
  }
}

it.each(sharedStoreTypes)('R12 a conversation is free again soon after its server died (%s)', async (store) => {
  const [dying, other] = await twoServers(store, slow);
  const conversation = await newConversation(other.url);
  const stream = await beginTurn(dying.url, conversation);
  expect((await say(other.url, 'too early', { conversation })).body.error.code).toBe('conversation_locked');
  dying.child.kill('SIGKILL');
  await rest(stream).catch(() => undefined);
  expect((await sayWhenFree(other.url, 'after', conversation)).status).toBe(200);
  expect(await itemsOf(other.url, conversation)).toEqual(['Say exactly: after', 'after']);
});

it.each(sharedStoreTypes)('R12 a paused server that wakes up late can write nothing (%s)', async (store) => {
  const [sleeper, other] = await twoServers(store, slow);
  const conversation = await newConversation(other.url);
  const stream = await beginTurn(sleeper.url, conversation);
  sleeper.child.kill('SIGSTOP');
  const answer = await sayWhenFree(other.url, 'meanwhile', conversation);
  expect(answer.status).toBe(200);
  sleeper.child.kill('SIGCONT');
  const events = eventsOf(await rest(stream));
  expect(events.at(-1)?.event).toBe('response.failed');
  expect(events.map(({ event }) => event)).not.toContain('response.completed');
  expect(await itemsOf(other.url, conversation)).toEqual(['Say exactly: meanwhile', 'meanwhile']);
  expect((await sayWhenFree(sleeper.url, 'again', conversation)).status).toBe(200);
});

it.each(sharedStoreTypes)(
  'R5 a conversation that is deleted on one server ends the run on the other (%s)',
  async (store) => {
    const [running, deleting] = await twoServers(store, slow);
    const conversation = await newConversation(deleting.url);
    const stream = await beginTurn(running.url, conversation);
    expect((await ask(deleting.url, 'DELETE', `/v1/conversations/${conversation}`)).status).toBe(200);
    const events = eventsOf(await rest(stream));
    const last = events.at(-1);
    expect(last?.event).toBe('response.failed');
    expect((await ask(running.url, 'GET', `/v1/conversations/${conversation}/items`)).status).toBe(404);
    expect((await ask(deleting.url, 'GET', `/v1/responses/${last?.data.response.id}`)).status).toBe(404);
  },
);
