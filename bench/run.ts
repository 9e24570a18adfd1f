/** `npm run bench [NAME …] [--rounds N] [--seconds N] [--dir FOLDER]`: see docs/performance.md. */
import { parseArgs } from 'node:util';
import { chainBench } from './chain.ts';
import type { Bench } from './client.ts';
import { conversationBench } from './conversation.ts';
import { getBench } from './get.ts';
import { latencyBench } from './latency.ts';
import { machineFacts, makeWorkFolder, removeFolder } from './machine.ts';
import { openStreamsBench } from './open-streams.ts';
import { pacedBench } from './paced.ts';
import { describePinning, endProcessesWithBench } from './processes.ts';
import { profileBench } from './profile.ts';
import { slowDiskBench } from './slow-disk.ts';
import { soakBench } from './soak.ts';
import { startBench } from './start.ts';
import { storesBench } from './stores.ts';
import { jsonBench, streamBench } from './throughput.ts';
import { workersBench } from './workers.ts';

const benches: ReadonlyMap<string, Bench> = new Map([
  ['json', jsonBench],
  ['stream', streamBench],
  ['paced', pacedBench],
  ['latency', latencyBench],
  ['get', getBench],
  ['open-streams', openStreamsBench],
  ['start', startBench],
  ['chain', chainBench],
  ['slow-disk', slowDiskBench],
  ['stores', storesBench],
  ['workers', workersBench],
  ['conversation', conversationBench],
  ['profile', profileBench],
  ['soak', soakBench],
]);
/** Only by name: what takes long, and answers another question. */
const onlyByName: ReadonlySet<string> = new Set(['conversation', 'profile', 'soak']);
const byDefault = [...benches.keys()].filter((name) => !onlyByName.has(name));

/** However it goes, the bench ends. */
const limitMs = 25 * 60_000;

function readArguments(): { names: readonly string[]; rounds: number; seconds: number; dir: string | undefined } {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: '6' },
      seconds: { type: 'string', default: '1.2' },
      dir: { type: 'string' },
    },
  });
  const [rounds, seconds] = [Number(values.rounds), Number(values.seconds)];
  const unknown = positionals.filter((name) => !benches.has(name));
  if (unknown.length > 0)
    throw new Error(`no bench ${unknown.join(', ')}: there are ${[...benches.keys()].join(', ')}`);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 100) throw new Error('--rounds takes 1 to 100');
  if (!(seconds >= 0.1 && seconds <= 60)) throw new Error('--seconds takes 0.1 to 60');
  return { names: positionals.length > 0 ? positionals : byDefault, rounds, seconds, dir: values.dir };
}

async function main(): Promise<number> {
  const { names, rounds, seconds, dir } = readArguments();
  endProcessesWithBench();
  const folder = makeWorkFolder(dir);
  process.on('exit', () => removeFolder(folder));
  setTimeout(() => {
    console.error(`The bench was not done after ${limitMs / 60_000} minutes.`);
    process.exit(1);
  }, limitMs).unref();
  console.log(`## Machine\n\n${machineFacts(folder, describePinning())}\n`);
  let isWrong = false;
  for (const name of names) {
    const bench = benches.get(name);
    if (bench === undefined) continue;
    const start = performance.now();
    const { markdown, wrong } = await bench({ rounds, seconds, folder });
    console.log(`${markdown}\n`);
    console.error(`(${name}: ${Math.round((performance.now() - start) / 1000)} s)`);
    for (const each of wrong) console.error(`WRONG: ${each}`);
    isWrong ||= wrong.length > 0;
  }
  return isWrong ? 1 : 0;
}

try {
  process.exit(await main());
} catch (error) {
  console.error(error);
  process.exit(1);
}
