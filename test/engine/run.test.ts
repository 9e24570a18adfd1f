import { describe, expect, it } from 'vitest';
import { ApiError } from '../../src/errors.ts';
import { StoreUnavailable } from '../../src/store.ts';
import type { Json } from '../support/harness.ts';
import { checkEvents } from '../support/wire-schemas.ts';
import { caller, hello, stage, start, stop } from './stage.ts';

describe('a run', () => {
  it.each(['json', 'sse'])('says nothing of its completion before it is committed (%s)', async (transport) => {
    const gate = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    const { real, model, engine, events, watcher } = stage((store) => ({
      appendTurn: async (tenant, turn) => {
        asked.resolve();
        await gate.promise;
        return store.appendTurn(tenant, turn);
      },
    }));
    const run = engine.start(
      { model: 'm', input: 'x', store: true },
      caller,
      transport === 'sse' ? watcher : undefined,
    );
    let isSettled = false;
    void run.result.then(() => {
      isSettled = true;
    });
    await model.say(start, hello, stop);
    await asked.promise;
    await new Promise((resolve) => setImmediate(resolve));
    expect(isSettled).toBe(false);
    expect(events.map((each) => each.event)).not.toContain('response.completed');
    expect(await real.getResponse('t', run.responseId)).toBeUndefined();
    gate.resolve();
    const { json } = await run.result;
    expect(JSON.parse(json)).toMatchObject({ id: run.responseId, status: 'completed' });
    expect((await real.getResponse('t', run.responseId))?.status).toBe('completed');
    if (transport === 'sse') expect(events.at(-1)?.event).toBe('response.completed');
  });

  it('never says completed where the store refuses', async () => {
    const refuse = () => ({ appendTurn: () => Promise.reject(new StoreUnavailable('gone')) });
    const plain = stage(refuse);
    const asJson = plain.engine.start({ model: 'm', input: 'x', store: true }, caller);
    await plain.model.say(start, hello, stop);
    await expect(asJson.result).rejects.toMatchObject({ kind: 'unavailable' });

    const watched = stage(refuse);
    const asSse = watched.engine.start({ model: 'm', input: 'x', store: true }, caller, watched.watcher);
    await watched.model.say(start, hello, stop);
    expect((await asSse.result).status).toBe('failed');
    checkEvents(watched.events);
    expect(watched.events.slice(-2).map((each) => each.event)).toEqual(['error', 'response.failed']);
  });

  it('R12 ends as failed, and its upstream call with it, when its lease is lost', async () => {
    const { real, model, engine, events, watcher } = stage(() => ({ renewLease: async () => false }));
    await real.createConversation('t', { id: 'conv_1', metadata: {}, createdAt: 0 });
    const run = engine.start({ model: 'm', input: 'x', conversation: 'conv_1' }, caller, watcher);
    await model.say(start, hello);
    await model.aborted.promise;
    expect((await run.result).status).toBe('failed');
    checkEvents(events);
    expect(events.slice(-2).map((each) => each.event)).toEqual(['error', 'response.failed']);
    expect((await real.getResponse('t', run.responseId))?.status).toBe('failed');
    expect(await real.listItems('t', { kind: 'conversation', id: 'conv_1' }, { limit: 5, order: 'asc' })).toMatchObject(
      {
        items: [],
      },
    );
  });

  it('R12 a run whose place was taken while it slept appends nothing', async () => {
    const { real, model, engine, events, watcher } = stage();
    await real.createConversation('t', { id: 'conv_1', metadata: {}, createdAt: 0 });
    const run = engine.start({ model: 'm', input: 'x', conversation: 'conv_1' }, caller, watcher);
    await model.say(start, hello);
    const lease = await real.readContext('t', { kind: 'conversation', id: 'conv_1' }, 1_000);
    if (typeof lease === 'string') throw new Error(lease);
    await real.appendTurn('t', {
      kind: 'conversation',
      base: lease.head,
      conversationId: 'conv_1',
      holder: undefined,
      responseId: 'resp_other',
      status: 'completed',
      responseJson: '{"id":"resp_other"}',
      input: [],
      output: [],
      textBytes: 0,
      user: undefined,
      createdAt: 0,
    });
    await model.say(stop);
    expect((await run.result).status).toBe('failed');
    expect(events.at(-1)?.data.response.error.code).toBe('server_error');
  });

  it('R11 a client that leaves after the finish reason changes nothing; before it, the run is cancelled', async () => {
    const late = stage();
    const run = late.engine.start({ model: 'm', input: 'x', store: true }, caller, late.watcher);
    await late.model.say(start, hello, { type: 'finish' });
    run.clientGone();
    await late.model.say(stop);
    expect((await run.result).status).toBe('completed');
    expect((await late.real.getResponse('t', run.responseId))?.status).toBe('completed');

    const early = stage();
    const cancelled = early.engine.start({ model: 'm', input: 'x', store: true }, caller, early.watcher);
    await early.model.say(start, hello);
    cancelled.clientGone();
    await early.model.aborted.promise;
    expect((await cancelled.result).status).toBe('cancelled');
    const stored = await early.real.getResponse('t', cancelled.responseId);
    expect(stored).toMatchObject({
      status: 'cancelled',
      output: [{ status: 'incomplete', content: [{ text: 'hello' }] }],
    });
  });

  it('stores nothing for a caller whom nobody vouched for, and says so', async () => {
    const { real, model, engine } = stage(undefined, { mayCreateState: () => false, vouch: async () => false });
    const run = engine.start({ model: 'm', input: 'x', store: true }, { ...caller, credential: 'invented' });
    await model.say(start, hello, stop);
    await expect(run.result).rejects.toMatchObject({ kind: 'unauthorized', code: 'invalid_api_key' });
    expect(await real.getResponse('t', run.responseId)).toBeUndefined();
  });

  it('frees a lease that it got after its client had left', async () => {
    const gate = Promise.withResolvers<void>();
    const { real, engine } = stage((store) => ({
      acquireLease: async (...lease) => {
        await gate.promise;
        return store.acquireLease(...lease);
      },
    }));
    await real.createConversation('t', { id: 'conv_1', metadata: {}, createdAt: 0 });
    const run = engine.start({ model: 'm', input: 'x', conversation: 'conv_1' }, caller);
    run.clientGone();
    await run.ended;
    gate.resolve();
    for (;;) {
      const taken = await real.acquireLease('t', 'conv_1', 'another', 1_000);
      if (taken === 'acquired') break;
      await new Promise((resolve) => setImmediate(resolve));
    }
  });

  it('a defect of a model’s sink ends the run as failed, not the process', async () => {
    const { model, engine } = stage();
    const watcher = {
      open: () => {},
      event: (type: string) => {
        if (type.endsWith('.delta')) throw new Error('a defect');
      },
    };
    const run = engine.start({ model: 'm', input: 'x' }, caller, watcher);
    await model.say(start, hello);
    await model.aborted.promise;
    expect((await run.result).status).toBe('failed');
  });

  it('counts texts against the limit of the context, wherever they come from', async () => {
    const { real, model, engine } = stage();
    const first = engine.start({ model: 'm', input: 'x'.repeat(500), store: true }, caller);
    await model.say(start, { type: 'text', delta: 'y'.repeat(400) }, stop);
    await first.result;
    expect((await real.getResponse('t', first.responseId))?.status).toBe('completed');
    const fits = { model: 'm', input: 'z'.repeat(100), previous_response_id: first.responseId };
    const second = engine.start(fits, caller);
    await model.say(start, hello, stop);
    expect(JSON.parse((await second.result).json).status).toBe('completed');
    for (const tooMuch of [
      { ...fits, input: 'z'.repeat(101) },
      { ...fits, input: 'z'.repeat(99), instructions: 'ab' },
      { model: 'm', input: 'x'.repeat(1_001) },
    ]) {
      const refused: Promise<Json> = engine.start(tooMuch, caller).result;
      await expect(refused).rejects.toMatchObject({ code: 'context_length_exceeded', param: 'input' });
      await expect(refused).rejects.toBeInstanceOf(ApiError);
    }
  });
});
