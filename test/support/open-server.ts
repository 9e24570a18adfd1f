import { DatabaseSync } from 'node:sqlite';
import { onTestFinished } from 'vitest';
import { type Answer, start, storeSettings, TestServer } from './harness.ts';
import { answerStatus, answerText, type Handler, startUpstream, type Upstream } from './upstream.ts';

/** A server that listens beyond loopback, asked over loopback. Ends with the test. */
export async function serveOpen(
  settings: Record<string, string> = {},
  env: Record<string, string> = {},
): Promise<TestServer> {
  const running = await start({ 'server.host': '0.0.0.0', ...settings }, env);
  onTestFinished(() => running.close({ force: true }));
  return new TestServer({ ...running, url: running.url.replace('0.0.0.0', '127.0.0.1') });
}

export type VendorOptions = {
  /** Keys that may call models. */
  readonly keys: readonly string[] | 'any';
  readonly models?: readonly string[];
  /** Who may see the list of models: those with a good key, those with any key, or everybody. */
  readonly list?: 'good' | 'any' | 'all';
};

/** An upstream that checks keys. */
export function vendor({ keys, models = ['m'], list = 'good' }: VendorOptions): Handler {
  return (reply, request) => {
    const key = request.headers.authorization?.replace('Bearer ', '');
    const isGood = keys === 'any' || (key !== undefined && keys.includes(key));
    const isList = request.path.startsWith('/v1/models');
    const mayList = list === 'all' || isGood || (list === 'any' && key !== undefined);
    if (isList ? !mayList : !isGood) return answerStatus(401, { error: { message: `no: ${key}` } })(reply, request);
    if (!isList && request.raw === '{}') return answerStatus(400, { error: { message: 'no model' } })(reply, request);
    if (!isList) return answerText('Hello there')(reply, request);
    reply.json({ object: 'list', data: models.map((id) => ({ id, object: 'model' })) });
  };
}

export async function startVendor(options: VendorOptions): Promise<Upstream> {
  const upstream = await startUpstream(vendor(options));
  onTestFinished(() => upstream.close());
  return upstream;
}

/**
 * A server beyond loopback over a vendor that is its default provider, with its state in a file that can be counted.
 * `atStart` answers while the server starts.
 */
export async function serveVendor(
  options: VendorOptions,
  settings: Record<string, string> = {},
  atStart: Handler = vendor(options),
): Promise<{ server: TestServer; upstream: Upstream; rows: () => number; asked: () => string[] }> {
  const upstream = await startVendor(options);
  upstream.use(atStart);
  const store = await storeSettings('sqlite');
  const server = await serveOpen({
    'providers.up.base-url': upstream.url,
    'default-provider': 'up',
    'upstream.max-retries': '0',
    ...store,
    ...settings,
  });
  upstream.use(vendor(options));
  return {
    server,
    upstream,
    rows: () => rowsOf(store['sqlite.path'] ?? ''),
    asked: () => upstream.requests.map(({ method, path, headers }) => `${method} ${path} ${headers.authorization}`),
  };
}

/** How many rows all tables of a database hold. */
function rowsOf(file: string): number {
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
    return tables.reduce((sum, { name }) => {
      return sum + Number(database.prepare(`SELECT count(*) AS n FROM "${name}"`).get()?.['n']);
    }, 0);
  } finally {
    database.close();
  }
}

export function bearer(key: string): Record<string, string> {
  return { authorization: `Bearer ${key}` };
}

/** What every error answer has, and nothing more. */
export function errorOf(answer: Pick<Answer, 'status' | 'body'>): string {
  const { error, ...others } = answer.body ?? {};
  const names = Object.keys(error ?? {}).sort();
  if (names.join() !== 'code,message,param,type' || Object.keys(others).length > 0) {
    throw new Error(`not an error of the API: ${answer.status} ${JSON.stringify(answer.body)}`);
  }
  return `${answer.status} ${error.code}`;
}
