import { describe, expect, it } from 'vitest';
import type { Item } from '../../src/api/items.ts';
import { reasoningId, seenBy } from '../../src/engine/provenance.ts';
import { isSealed, newSecret, Sealer } from '../../src/engine/sealer.ts';
import { mintId } from '../../src/ids.ts';

const secret = newSecret();
const sealer = new Sealer(secret);
const value = sealer.seal('ada', { provider: 'gemini', data: [{ signature: 'plum' }, {}] });

describe('what a provider wants back', () => {
  it('is opened for the tenant that it was sealed for, on every server with the secret', () => {
    expect(new Sealer(secret).open('ada', value)).toEqual({ provider: 'gemini', data: [{ signature: 'plum' }, {}] });
    expect(value).not.toContain('plum');
    expect(Buffer.from(value.slice(6), 'base64url').toString('latin1')).not.toContain('plum');
  });

  it('is sealed differently each time', () => {
    expect(sealer.seal('ada', { provider: 'p', data: [] })).not.toBe(sealer.seal('ada', { provider: 'p', data: [] }));
  });

  it('is not opened for anybody else', () => {
    expect(sealer.open('bob', value)).toBeUndefined();
    expect(new Sealer(newSecret()).open('ada', value)).toBeUndefined();
  });

  it.each(Array.from({ length: value.length }, (_, at) => at).filter((at) => at % 7 === 0))(
    'is not opened when character %i was changed',
    (at) => {
      const other = value[at] === 'A' ? 'B' : 'A';
      expect(sealer.open('ada', value.slice(0, at) + other + value.slice(at + 1))).toBeUndefined();
    },
  );

  it.each(['', 'orsp1.', 'orsp1.AAAA', value.slice(0, -1), value.slice(0, 30), 'orsp2.x', 'gAAAAABo', '💥'])(
    'is not opened from %j',
    (broken) => {
      expect(sealer.open('ada', broken)).toBeUndefined();
    },
  );

  it('is told from what others sealed by its form alone', () => {
    expect(isSealed(value)).toBe(true);
    expect(isSealed('gAAAAABo')).toBe(false);
  });
});

describe('what one provider sees', () => {
  const reasoning = (id: string, encrypted?: string): Item => ({
    id,
    type: 'reasoning',
    summary: [{ type: 'summary_text', text: 'hm' }],
    ...(encrypted === undefined ? {} : { encrypted_content: encrypted }),
  });

  it('is its own data, by the id of the item, and nothing sealed', () => {
    const items = [reasoning('rs_1', value), reasoning('rs_2')];
    const { items: seen, providerData } = seenBy('gemini', items, 'ada', sealer);
    expect([...providerData]).toEqual([['rs_1', [{ signature: 'plum' }, {}]]]);
    expect(seen).toEqual([reasoning('rs_1'), reasoning('rs_2')]);
  });

  it.each([
    ['another provider', 'openai', 'ada'],
    ['another tenant', 'gemini', 'bob'],
  ])('holds nothing for %s, and keeps what was said aloud', (_who, provider, tenant) => {
    const { items, providerData } = seenBy(provider, [reasoning('rs_1', value)], tenant, sealer);
    expect(providerData.size).toBe(0);
    expect(items).toEqual([reasoning('rs_1')]);
  });

  it('is what its upstream encrypted itself, unless the id says that another one did', () => {
    const own = reasoningId(mintId('rs'), 'openai');
    const other = reasoningId(mintId('rs'), 'azure');
    expect(own).toMatch(/^rs_[0-9a-f]{48}_[0-9a-f]{4}$/);
    const openai = `rs_${'0123456789ab'.repeat(4)}`;
    const items = [reasoning(own, 'gA1'), reasoning(other, 'gA2'), reasoning(openai, 'gA3')];
    expect(seenBy('openai', items, 'ada', sealer).items).toEqual([
      reasoning(own, 'gA1'),
      reasoning(other),
      reasoning(openai, 'gA3'),
    ]);
  });
});
