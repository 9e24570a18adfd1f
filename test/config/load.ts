import { resolve } from 'node:path';
import { type Config, ConfigError, loadConfig } from '../../src/config.ts';

export type Sources = {
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The content of open-responses.properties. */
  readonly properties?: string;
  /** Further files, by path; an Error is thrown when the file is read. */
  readonly files?: Readonly<Record<string, string | Error>>;
};

export const cwd = '/srv/app';

/** Loads from these sources and nothing else. */
export function load(sources: Sources = {}): Config {
  const files = new Map(Object.entries(sources.files ?? {}).map(([path, content]) => [resolve(cwd, path), content]));
  if (sources.properties !== undefined) files.set(resolve(cwd, 'open-responses.properties'), sources.properties);
  return loadConfig({
    argv: sources.flags ?? [],
    env: sources.env ?? {},
    cwd,
    readFile(path) {
      const content = files.get(path) ?? failure('ENOENT');
      if (content instanceof Error) throw content;
      return content;
    },
  });
}

export function failure(code: string): Error {
  return Object.assign(new Error(`${code}: something about a file`), { code });
}

/** The message of the refusal, which must be one and must be one line. */
export function refusal(sources: Sources): string {
  try {
    load(sources);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    if (/[\r\n]/.test(error.message)) throw new Error(`More than one line: ${JSON.stringify(error.message)}`);
    return error.message;
  }
  throw new Error('Nothing was refused.');
}
