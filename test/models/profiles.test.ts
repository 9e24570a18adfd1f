import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { toChatRequest } from '../../src/models/chat-completions/request.ts';
import { efforts, profiles } from '../../src/models/profiles.ts';
import { answerStatus } from '../support/upstream.ts';
import {
  decodeAnswer,
  type ErrorFixture,
  type FixtureSource,
  fixtureNames,
  fixtureVendors,
  readAnswer,
  readFixture,
  toRecord,
} from './fixture-files.ts';
import { effortCalls, requestCalls } from './request-calls.ts';
import { play, profileOf, scene } from './support.ts';

const vendors = [...profiles.keys()];
/** These show no reasoning in chat completions. */
const silentThinkers = new Set(['openai', 'anthropic']);

type Expected = Readonly<Record<string, unknown>>;
const expected = (vendor: string) => readFixture(vendor, 'expected') as Expected;

/** Numbers in [0, 1), the same in every run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...places.toSorted((one, other) => one - other), bytes.length];
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
}

test('every profile has fixtures, and every fixture says where it is from', () => {
  expect(fixtureVendors().toSorted()).toEqual(vendors.toSorted());
  for (const vendor of vendors) {
    const names = fixtureNames(vendor);
    const needed = silentThinkers.has(vendor) ? ['text', 'calls', 'error'] : ['text', 'calls', 'reasoning', 'error'];
    expect(names, vendor).toEqual(expect.arrayContaining(needed));
    const source = readFixture(vendor, 'source') as FixtureSource;
    expect(Object.keys(source.cases).toSorted(), vendor).toEqual(names.toSorted());
    expect(Object.keys(expected(vendor)).toSorted(), vendor).toEqual(names.toSorted());
    expect(source.sources.length, vendor).toBeGreaterThan(0);
    for (const origin of Object.values(source.cases)) expect(origin).toMatch(/^(?:documented|derived|captures?)\b/);
  }
});

describe.each(vendors)('%s', (vendor) => {
  const profile = profileOf(vendor);
  const answers = fixtureNames(vendor).filter((name) => name !== 'error');

  test.each(answers)('says what it said: %s', (name) => {
    const { bytes, isStream } = readAnswer(vendor, name);
    expect(toRecord(decodeAnswer(profile, isStream, [bytes]))).toEqual(expected(vendor)[name]);
  });

  test.each(answers)('says the same however its bytes are cut: %s', (name) => {
    const { bytes, isStream } = readAnswer(vendor, name);
    const whole = JSON.stringify(expected(vendor)[name]);
    const said = (places: readonly number[]) =>
      JSON.stringify(toRecord(decodeAnswer(profile, isStream, cut(bytes, places))));
    const wrong = Array.from({ length: bytes.length - 1 }, (_, at) => at + 1).filter((at) => said([at]) !== whole);
    expect(wrong).toEqual([]);
    const random = seeded(bytes.length);
    for (let round = 0; round < 20; round += 1) {
      const places = Array.from({ length: 40 }, () => Math.floor(random() * bytes.length));
      expect(said(places), String(places)).toBe(whole);
    }
  });

  test('refuses in words that are understood', async () => {
    const { status, body } = readFixture(vendor, 'error') as ErrorFixture;
    await using it = await scene(answerStatus(status, body), { profile: vendor });
    const { error } = await play(it.model);
    const { kind, code, param } = error ?? {};
    expect({ kind, code, param }).toEqual(expected(vendor)['error']);
    // What it refused in, it is told in.
    if (code === 'context_length_exceeded') expect(error?.message).toMatch(/token|context|prompt|length/i);
  });

  const requests = readFixture(vendor, 'requests') as {
    readonly calls: Readonly<Record<string, unknown>>;
    readonly efforts: Readonly<Record<string, unknown>>;
  };

  test.each(Object.entries(requestCalls))('is asked in its own form: %s', (name, call) => {
    expect(JSON.parse(JSON.stringify(toChatRequest(call, profile)))).toEqual(requests.calls[name]);
  });

  test('is told every effort in words that it knows', () => {
    for (const [name, call] of Object.entries(effortCalls)) {
      const { model: _model, messages: _messages, ...rest } = toChatRequest(call, profile);
      const wanted = requests.efforts[name] ?? requests.efforts[name.replace(', summarized', '')];
      expect(rest, name).toEqual(wanted);
    }
  });

  test('is consistent', () => {
    const { reasoning, features, baseUrl, remote, sources, notes } = profile;
    if (remote) expect(baseUrl).toMatch(/^https:\/\/.*[^/]$/);
    if (reasoning.effort.kind === 'fields') expect(Object.keys(reasoning.effort.by)).toEqual([...efforts]);
    expect(reasoning.effort.kind === 'none').toBe(!features.reasoningEffort);
    expect(features.grammars).toBe(profile.customTools);
    expect(features.hostedTools).toBe(false);
    expect(notes.length).toBeGreaterThan(0);
    for (const { url, read } of sources) {
      expect(URL.canParse(url)).toBe(true);
      expect(read).toMatch(/^\d{4}-\d\d-\d\d$/);
    }
  });
});

test('the README of the fixtures says what they are', () => {
  const file = new URL('fixtures/README.md', import.meta.url);
  expect(existsSync(file)).toBe(true);
  expect(readFileSync(file, 'utf8')).toMatch(/no recordings/i);
});
