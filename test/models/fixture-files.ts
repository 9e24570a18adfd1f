import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ApiError } from '../../src/errors.ts';
import type { ModelCall, ModelEnd, ModelEvent } from '../../src/model.ts';
import { ChatDecoder } from '../../src/models/chat-completions/decoder.ts';
import type { Profile } from '../../src/models/profiles.ts';
import { AnswerReader } from '../../src/models/upstream/answer.ts';
import { modelCall } from '../contracts/model.ts';

const folder = fileURLToPath(new URL('fixtures', import.meta.url));

/** Where a vendor's fixtures are known from: each documented, seen by somebody, or derived (fixtures/README.md). */
export type FixtureSource = {
  readonly read: string;
  readonly sources: readonly string[];
  readonly cases: Readonly<Record<string, string>>;
};

export type ErrorFixture = { readonly status: number; readonly body: unknown };

/** The names of the profiles that have fixtures. */
export function fixtureVendors(): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
}

export function fixtureNames(vendor: string): string[] {
  return readdirSync(join(folder, vendor))
    .filter((file) => !['source.json', 'expected.json', 'requests.json'].includes(file))
    .map((file) => file.replace(/\.(?:sse|json)$/, ''));
}

export function readFixture(vendor: string, file: string): unknown {
  return JSON.parse(readFileSync(join(folder, vendor, `${file}.json`), 'utf8'));
}

/** An answer's bytes, and whether they are a stream. */
export function readAnswer(vendor: string, name: string): { readonly bytes: Buffer; readonly isStream: boolean } {
  const stream = join(folder, vendor, `${name}.sse`);
  const isStream = existsSync(stream);
  return { bytes: readFileSync(isStream ? stream : join(folder, vendor, `${name}.json`)), isStream };
}

/** What every fixture answers. */
export const fixtureCall: ModelCall = modelCall({
  tools: [
    { type: 'function', name: 'get_weather', parameters: { type: 'object' } },
    { type: 'function', name: 'get_time', parameters: { type: 'object' } },
    { type: 'function', name: 'lookup', namespace: { name: 'crm', description: 'Customers' } },
    { type: 'custom', name: 'patch' },
  ],
});

export type Decoded = { readonly events: readonly ModelEvent[]; readonly end: ModelEnd };

/** An answer that arrives in these pieces, read by a profile. */
export function decodeAnswer(
  profile: Profile,
  isStream: boolean,
  pieces: readonly Buffer[],
  call: ModelCall = fixtureCall,
): Decoded {
  const events: ModelEvent[] = [];
  const reportedError = (error: unknown) => new ApiError('upstream_failed', JSON.stringify(error));
  const decoder = new ChatDecoder({ provider: 'acme', call, profile, reportedError }, (event) => events.push(event));
  const reader = new AnswerReader(isStream ? 'sse' : 'unknown', decoder, 1_000_000);
  for (const piece of pieces) reader.feed(piece);
  reader.end();
  return { events, end: decoder.close() };
}

/** As it is kept in a file: an error by its words alone. */
export function toRecord({ events, end }: Decoded): unknown {
  const last = end.reason === 'error' ? { type: 'end', reason: 'error', message: end.error.message } : end;
  return JSON.parse(JSON.stringify([...events, last]));
}
