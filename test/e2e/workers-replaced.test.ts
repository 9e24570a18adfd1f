import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { pausesAfter } from '../../src/workers.ts';
import { type Command, temporaryFolder } from '../support/command.ts';
import { checkTurns, newTurnState, runTurns } from '../support/crash-client.ts';
import { childrenOf, signal } from '../support/process-table.ts';
import { RawSocket } from '../support/raw-socket.ts';
import {
  ask,
  died,
  get,
  listening,
  oneEach,
  present,
  replaced,
  serve,
  servedBy,
  serveIn,
  workersOf,
} from '../support/workers.ts';

// Every test starts several processes.
vi.setConfig({ testTimeout: 60_000 });

/** The process that the command starts next, besides those that are known, once it runs a program of its own. */
async function untilBorn(command: Command, known: readonly number[]): Promise<number> {
  for (const givenUpAt = performance.now() + 30_000; performance.now() < givenUpAt; ) {
    const born = childrenOf(command.pid).find((pid) => !known.includes(pid));
    if (born !== undefined && isWorker(born)) return born;
    // The system tells nobody of it.
    await delay(2);
  }
  throw new Error('no process was started');
}

/** Until then it is a copy of its parent, which waits for that: whoever halts the one halts the other. */
function isWorker(pid: number): boolean {
  const path = `/proc/${pid}/cmdline`;
  return existsSync('/proc/self/cmdline') ? existsSync(path) && readFileSync(path, 'utf8').includes('\0worker') : true;
}

describe('a worker that dies', () => {
  it('takes only what it served with it, and is replaced', async () => {
    const running = await serve(['--demo.chunk-delay=0', '--conversation.lease=300ms']);
    const { command, url } = running;
    const states = await Promise.all(Array.from({ length: 6 }, () => newTurnState(url)));
    const sockets = await oneEach(running);
    const [victim, survivor] = [...sockets.keys()];
    const spared = present(sockets.get(present(survivor)));
    const turns = 60;
    let isOver = false;
    const load = states.map(async (state) => {
      while (state.next < turns) await runTurns(url, state, turns - state.next);
    });
    const pinned = (async () => {
      for (let done = 0; ; done += 1) {
        const answer = await ask(spared, { model: 'demo', input: 'Say exactly: alive', store: true });
        expect(answer.status).toBe(200);
        expect(await servedBy(running, answer)).toBe(survivor);
        if (isOver) return done;
      }
    })();
    await command.until(() => (states.some(({ next }) => next > 10) ? true : undefined));
    signal(present(victim), 'SIGKILL');
    await Promise.all(load);
    const [death] = await command.untilLogged(died);
    const [successor] = await command.untilLogged(replaced);
    isOver = true;
    expect(await pinned).toBeGreaterThan(10);
    expect(death).toMatchObject({ level: 50, pid: command.pid, worker: victim, signal: 'SIGKILL', code: null });
    for (const state of states) {
      await checkTurns(url, state);
      // One request was under way, and the next may have taken another connection to the dead.
      expect(state.chain.length + state.conversationTurns.length).toBeGreaterThanOrEqual(turns - 2);
    }
    const pids = new Set((await oneEach(running)).keys());
    expect(pids).toEqual(new Set([survivor, successor.worker]));
    expect(command.logged(died)).toHaveLength(1);
  });

  it('leaves no client waiting whose connection it was about to get', async () => {
    const running = await serve();
    const { command, url } = running;
    const victim = present(workersOf(command)[0]);
    signal(victim, 'SIGSTOP');
    const waiting = await Promise.all([1, 2, 3, 4].map(() => RawSocket.open(url)));
    const fates = waiting.map((socket) =>
      get(socket, '/healthz').then(
        () => 'answered',
        () => 'closed',
      ),
    );
    // The other worker takes all but the one that the halted one was offered.
    await command.untilLogged('request', 3);
    signal(victim, 'SIGKILL');
    expect((await Promise.all(fates)).sort()).toEqual(['answered', 'answered', 'answered', 'closed']);
  });

  it('together with all others leaves the address as it was', async () => {
    const running = await serve();
    const { command, url } = running;
    for (const pid of workersOf(command)) signal(pid, 'SIGKILL');
    const successors = new Set((await command.untilLogged(replaced, 2)).map(({ worker }) => worker));
    expect(new Set((await oneEach(running)).keys())).toEqual(successors);
    const addresses = command.lines().filter(({ msg, pid }) => listening.test(msg) && successors.has(pid));
    expect(addresses.map(({ msg }) => msg)).toEqual(Array(2).fill(`Server listening at ${url}`));
    expect(command.out.match(/OpenResponses/g)).toHaveLength(1);
  });

  it('while all others die leaves the address as it was, even if its successor was about to get another', async () => {
    const running = await serve();
    const { command, url } = running;
    const [one, other] = workersOf(command);
    signal(present(one), 'SIGKILL');
    const early = await untilBorn(command, [present(one), present(other)]);
    // It was told to take any port, and has taken none yet.
    signal(early, 'SIGSTOP');
    // Halted it would outlive a test that fails. To whoever had its number by then it would mean nothing.
    onTestFinished(() => signal(early, 'SIGCONT'));
    signal(present(other), 'SIGKILL');
    await command.untilLogged(died, 2);
    signal(early, 'SIGCONT');
    const successors = (await command.untilLogged(replaced, 2)).map(({ worker }) => worker);
    // Nobody else had to die for it.
    const deaths = command.logged(died).map((death) => [death.worker, death.signal]);
    expect(deaths).toEqual([one, other, early].map((pid) => [pid, 'SIGKILL']));
    expect(successors).not.toContain(early);
    expect(new Set((await oneEach(running)).keys())).toEqual(new Set(successors));
    const addresses = command.lines().filter(({ msg, pid }) => listening.test(msg) && successors.includes(pid));
    expect(addresses.map(({ msg }) => msg)).toEqual(Array(2).fill(`Server listening at ${url}`));
  });

  it('and whose successors die too, is replaced ever more slowly, while others serve', async () => {
    const folder = await temporaryFolder();
    const file = join(folder, 'ca.pem');
    writeFileSync(file, '-----BEGIN CERTIFICATE-----\n');
    const properties = join(folder, 'open-responses.properties');
    writeFileSync(properties, 'open-responses.upstream.ca-file=ca.pem\n');
    const running = await serveIn(folder, []);
    const { command } = running;
    const sockets = await oneEach(running);
    const [victim, survivor] = [...sockets.keys()];
    rmSync(file);
    // Every worker has the configuration that the first one had.
    writeFileSync(properties, 'open-responses.sqlite.path=other.sqlite\nopen-responses.nonsense=1\n');
    signal(present(victim), 'SIGKILL');
    const deaths = await command.untilLogged(died, 4);
    expect(deaths.map(({ replacedInMs }) => replacedInMs)).toEqual([100, 200, 400, 800]);
    expect(deaths[0]).toMatchObject({ worker: victim, signal: 'SIGKILL' });
    for (const death of deaths.slice(1)) {
      expect(death).toMatchObject({ code: 1, reason: expect.stringContaining('upstream.ca-file') });
    }
    expect(new Set(deaths.map(({ worker }) => worker)).size).toBe(4);
    const spared = present(sockets.get(present(survivor)));
    expect((await get(spared, '/readyz')).status).toBe(200);
    expect((await get(await RawSocket.open(running.url), '/readyz')).status).toBe(200);
    expect(command.err).not.toContain('open-responses: ');
    writeFileSync(file, '-----BEGIN CERTIFICATE-----\n');
    const [successor] = await command.untilLogged(replaced);
    expect(new Set((await oneEach(running)).keys())).toEqual(new Set([survivor, successor.worker]));
    expect(existsSync(join(folder, 'other.sqlite'))).toBe(false);
    command.child.kill('SIGTERM');
    expect((await command.ended).code).toBe(0);
  });
});

describe('the pause before a worker is replaced', () => {
  const minuteMs = 60_000;

  it('doubles with every death, up to 10 seconds', () => {
    const pauses: number[] = [];
    let plannedMs = 100;
    for (let deaths = 0; deaths < 10; deaths += 1) {
      const { pauseMs, nextPauseMs } = pausesAfter(minuteMs - 1, plannedMs);
      pauses.push(pauseMs);
      plannedMs = nextPauseMs;
    }
    expect(pauses).toEqual([100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000]);
  });

  it('begins anew after a life of a minute, and not before', () => {
    for (const plannedMs of [100, 400, 10_000]) {
      expect(pausesAfter(minuteMs, plannedMs)).toEqual({ pauseMs: 100, nextPauseMs: 200 });
      expect(pausesAfter(minuteMs - 1, plannedMs).pauseMs).toBe(plannedMs);
    }
  });

  it('counts from the start of the worker that died', async () => {
    const folder = await temporaryFolder();
    const file = join(folder, 'clock.mjs');
    // A clock that goes on by a minute when it is told to.
    writeFileSync(
      file,
      `const now = performance.now.bind(performance);
      let aheadMs = 0;
      performance.now = () => now() + aheadMs;
      process.on('SIGUSR2', () => {
        aheadMs += ${minuteMs};
        process.stderr.write('a minute later\\n');
      });`,
    );
    const { command } = await serveIn(folder, [], { env: { NODE_OPTIONS: `--import=${file}` } });
    let victim = present(workersOf(command)[0]);
    const die = async (): Promise<number> => {
      const deaths = command.logged(died).length + 1;
      signal(victim, 'SIGKILL');
      const { worker, replacedInMs } = present((await command.untilLogged(died, deaths)).at(-1));
      expect(worker).toBe(victim);
      victim = present((await command.untilLogged(replaced, deaths)).at(-1)).worker;
      return replacedInMs;
    };
    expect([await die(), await die()]).toEqual([100, 200]);
    signal(command.pid, 'SIGUSR2');
    await command.until(({ err }) => (err.includes('a minute later\n') ? true : undefined));
    // The last one came to its minute; those that follow did not.
    expect([await die(), await die(), await die()]).toEqual([100, 200, 400]);
  });
});
