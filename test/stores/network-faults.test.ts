import { expect, it, onTestFinished } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { openStore } from '../../src/open-store.ts';
import { type NewTurn, type Store, StoreUnavailable } from '../../src/store.ts';
import { describeMongo, describePostgres } from '../support/databases.ts';
import { type FaultProxy, seededRandom, startFaultProxy } from '../support/fault-proxy.ts';
import { type StoreType, storeSettings } from '../support/harness.ts';
import {
  contextOf,
  conversationIds,
  conversationTurn,
  headOfConversation,
  items,
  makeConversation,
  message,
  responseContextIds,
  turn,
} from '../support/store-fixtures.ts';

const tenant = 'tenant';
const seeds = [11, 12, 13, 14];
const turns = 25;

type Scene = { readonly proxy: FaultProxy; readonly direct: Store; readonly shaky: Store };

/** The same database twice: directly, and through a proxy that breaks things. */
async function scene(type: StoreType, timeout = '5s'): Promise<Scene> {
  const settings = await storeSettings(type);
  const key = `${type}.uri`;
  const uri = new URL(settings[key] ?? '');
  const proxy = await startFaultProxy({ host: uri.hostname, port: Number(uri.port) });
  if (type === 'mongodb') uri.searchParams.set('directConnection', 'true');
  const open = (address: string): Promise<Store> => {
    const flags = { ...settings, [key]: address, 'store.timeout': timeout };
    return openStore(loadConfig({ argv: Object.entries(flags).map(([name, value]) => `--${name}=${value}`), env: {} }));
  };
  const direct = await open(uri.href);
  const shaky = await open(proxy.uri(uri.href));
  onTestFinished(async () => {
    await proxy.close();
    await shaky.close();
    await direct.close();
  });
  return { proxy, direct, shaky };
}

/** Says it until it is answered, as a client does that is told to come again. How often it was refused. */
async function insist<T>(change: () => Promise<T>): Promise<{ readonly answer: T; readonly refusals: number }> {
  for (let refusals = 0; refusals < 50; refusals += 1) {
    try {
      return { answer: await change(), refusals };
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
    }
  }
  throw new Error('refused 50 times');
}

/** Turns of a conversation and of a chain, while the network does as it likes before each. */
async function runTurns({ shaky, direct }: Scene, harm: (proxy: FaultProxy) => void, proxy: FaultProxy): Promise<void> {
  await makeConversation(direct, tenant, 'conv');
  const expected: string[] = [];
  const chain: string[] = [];
  let last: NewTurn | undefined;
  for (let index = 0; index < turns; index += 1) {
    const base = await headOfConversation(direct, tenant, 'conv');
    const inConversation = conversationTurn(`c${index}`, base);
    harm(proxy);
    expect((await insist(() => shaky.appendTurn(tenant, inConversation))).answer).toBe('appended');
    expected.push(`in-c${index}`, `out-c${index}`);
    const head =
      last === undefined
        ? undefined
        : (await contextOf(direct, tenant, { kind: 'response', id: last.responseId })).head;
    last = turn(`r${index}`, head);
    const inChain = last;
    harm(proxy);
    expect((await insist(() => shaky.appendTurn(tenant, inChain))).answer).toBe('appended');
    chain.push(`in-r${index}`, `out-r${index}`);
  }
  expect(await conversationIds(direct, tenant, 'conv')).toEqual(expected);
  expect(await responseContextIds(direct, tenant, `r${turns - 1}`)).toEqual(chain);
  const head = await headOfConversation(direct, tenant, 'conv');
  expect(head.position).toBe(turns - 1);
}

function faultCases(type: StoreType): void {
  it.each(seeds)(
    'connections cut at random bytes: each turn is stored once (seed %i)',
    { timeout: 60_000 },
    async (seed) => {
      const all = await scene(type);
      const random = seededRandom(seed);
      let cuts = 0;
      const armed: Promise<void>[] = [];
      await runTurns(
        all,
        (proxy) => {
          if (random() < 0.4) return;
          const direction = random() < 0.5 ? 'up' : 'down';
          const bytes = Math.floor(random() ** 2 * 3_000);
          armed.push(
            proxy.cutAfter({ bytes, direction }).then((happened) => {
              if (happened) cuts += 1;
            }),
          );
        },
        all.proxy,
      );
      await all.proxy.close();
      await Promise.all(armed);
      expect(cuts).toBeGreaterThan(8);
    },
  );

  it('the answer to a commit is lost, every time: each turn is stored once', { timeout: 60_000 }, async () => {
    const all = await scene(type);
    await runTurns(all, (proxy) => proxy.dropAnswers(1), all.proxy);
  });

  it.each([1, 2, 3])('the secret is one, and kept, where %i answers are lost', { timeout: 60_000 }, async (lost) => {
    const { proxy, direct, shaky } = await scene(type);
    proxy.dropAnswers(lost);
    const { answer } = await insist(() => shaky.keptSecret('first'));
    expect(answer).toBe('first');
    for (const store of [direct, shaky]) expect(await store.keptSecret('later')).toBe('first');
  });

  it('half-closed and slow connections: each turn is stored once', { timeout: 60_000 }, async () => {
    const all = await scene(type);
    const random = seededRandom(5);
    await runTurns(
      all,
      (proxy) => {
        proxy.delay(random() < 0.5 ? 0 : Math.floor(random() * 15));
        if (random() < 0.4) proxy.halfClose(random() < 0.5 ? 'up' : 'down');
      },
      all.proxy,
    );
  });

  it('posting items whose answer is lost posts them once, or says that they are there', {
    timeout: 60_000,
  }, async () => {
    const { proxy, direct, shaky } = await scene(type);
    await makeConversation(direct, tenant, 'conv');
    for (let index = 0; index < 20; index += 1) {
      proxy.dropAnswers(1);
      const posted = items(message(`a${index}`), message(`b${index}`));
      const { answer, refusals } = await insist(() => shaky.appendItems(tenant, 'conv', posted));
      expect(refusals === 0 ? ['appended'] : ['appended', 'duplicate']).toContain(answer.outcome);
    }
    const expected = Array.from({ length: 20 }, (_, index) => [`a${index}`, `b${index}`]).flat();
    expect(await conversationIds(direct, tenant, 'conv')).toEqual(expected);
  });

  it('a network that swallows everything is a refusal in bounded time, and is forgotten afterwards', async () => {
    const { proxy, direct, shaky } = await scene(type, '700ms');
    await makeConversation(direct, tenant, 'conv');
    const base = await headOfConversation(direct, tenant, 'conv');
    proxy.blackhole(true);
    const lost = conversationTurn('lost', base);
    await expect(shaky.appendTurn(tenant, lost)).rejects.toBeInstanceOf(StoreUnavailable);
    await expect(shaky.getConversation(tenant, 'conv')).rejects.toBeInstanceOf(StoreUnavailable);
    await expect(shaky.ping()).rejects.toBeInstanceOf(StoreUnavailable);
    proxy.blackhole(false);
    expect((await insist(() => shaky.appendTurn(tenant, lost))).answer).toBe('appended');
    expect(await conversationIds(direct, tenant, 'conv')).toEqual(['in-lost', 'out-lost']);
    await insist(() => shaky.ping());
  });

  it('a server that refuses connections is a refusal, and is forgotten afterwards', async () => {
    const { proxy, direct, shaky } = await scene(type, '700ms');
    proxy.refuse(true);
    proxy.cutAll();
    await expect(shaky.appendTurn(tenant, turn('r1'))).rejects.toBeInstanceOf(StoreUnavailable);
    proxy.refuse(false);
    expect((await insist(() => shaky.appendTurn(tenant, turn('r1')))).answer).toBe('appended');
    expect(await responseContextIds(direct, tenant, 'r1')).toEqual(['in-r1', 'out-r1']);
  });
}

describePostgres('a bad network to PostgreSQL', () => faultCases('postgres'));
describeMongo('a bad network to MongoDB', () => faultCases('mongodb'));
