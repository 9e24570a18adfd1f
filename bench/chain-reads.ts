import type { Backend, Backends, Place } from './backends.ts';
import { treeCpuMs } from './process-tree.ts';
import { figure, table, verdict } from './stats.ts';
import type { StoreOutcome } from './store-worker.ts';
import { ask, startStore } from './stored.ts';
import { startTripProxy } from './trip-proxy.ts';

const turns = 1_000;
const warmups = 50;
const times = 200;
const countedTimes = 20;
const target = { ms: 20, trips: 2 };

type Row = {
  readonly backend: Backend;
  readonly read: StoreOutcome;
  readonly databaseCpuMs: number;
  readonly trips: number | undefined;
};

/** How long a store takes to read what a long chain has said: the store alone, with nothing else to do. */
export async function measureReads({ list }: Backends): Promise<{ markdown: string; wrong: string[] }> {
  const rows: Row[] = [];
  for (const backend of list) rows.push(await measureOne(backend));
  const wrong = rows.flatMap(({ backend, read }) => {
    const isWhole = read.entries === turns && read.items === 2 * turns;
    return isWhole ? [] : [`${backend.name}: ${read.entries} turns with ${read.items} items instead of ${turns}`];
  });
  const head = [
    `reading ${figure(turns)} turns`,
    'p50 ms',
    'p99 ms',
    'CPU ms',
    "of the database's processes",
    'round trips',
  ];
  const lines = rows.map(({ backend, read, databaseCpuMs, trips }) => [
    backend.name,
    figure(read.ms.p50),
    figure(read.ms.p99),
    figure(read.cpuMs / times),
    backend.pid === undefined ? '' : figure(databaseCpuMs / times),
    trips === undefined ? '' : figure(trips),
  ]);
  const note = `\`readContext\` of the store in a process of its own, ${times} times after ${warmups}; round trips as a proxy between store and database counts them, in the mean of ${countedTimes} reads.`;
  return { markdown: [table(head, lines), `${note} ${describeTarget(rows)}`].join('\n\n'), wrong };
}

function describeTarget(rows: readonly Row[]): string {
  const row = rows.find(({ backend }) => backend.kind === 'postgres');
  if (row === undefined) return 'Target for PostgreSQL: not measured.';
  const [isFast, isDirect] = [row.read.ms.p50 <= target.ms, row.trips === undefined || row.trips < target.trips + 0.5];
  return `Target for PostgreSQL: at most ${target.ms} ms: ${verdict(isFast)}; at most ${target.trips} round trips: ${verdict(isDirect)}.`;
}

async function measureOne(backend: Backend): Promise<Row> {
  const place = backend.place();
  const worker = await startStore(place);
  try {
    const { responseId = '' } = await ask(worker, { kind: 'chain', turns });
    const databaseSpent = (): number => (backend.pid === undefined ? Number.NaN : treeCpuMs([backend.pid]));
    await ask(worker, { kind: 'read', responseId, warmups, times: 1 });
    const before = databaseSpent();
    const read = await ask(worker, { kind: 'read', responseId, warmups: 0, times });
    const databaseCpuMs = databaseSpent() - before;
    return { backend, read, databaseCpuMs, trips: await countTrips(backend, place.through, responseId) };
  } finally {
    await worker.stop();
    await place.drop();
  }
}

/** Undefined where there is no network in between, or no single address. */
async function countTrips(
  { address }: Backend,
  through: Place['through'],
  responseId: string,
): Promise<number | undefined> {
  if (address === undefined || through === undefined) return undefined;
  const proxy = await startTripProxy(address);
  try {
    const worker = await startStore(through(proxy.port));
    try {
      await ask(worker, { kind: 'read', responseId, warmups: 5, times: 1 });
      const before = proxy.count();
      await ask(worker, { kind: 'read', responseId, warmups: 0, times: countedTimes });
      return (proxy.count() - before) / countedTimes;
    } finally {
      await worker.stop();
    }
  } finally {
    await proxy.close();
  }
}
