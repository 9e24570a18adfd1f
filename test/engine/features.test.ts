import { describe, expect, it } from 'vitest';
import type { Item } from '../../src/api/items.ts';
import { fitItems, fitRequest } from '../../src/engine/features.ts';
import { allFeatures, type ModelCall, type ModelFeatures } from '../../src/model.ts';
import { modelCall } from '../contracts/model.ts';

const nothing: ModelFeatures = {
  logprobs: false,
  verbosity: false,
  reasoningEffort: false,
  penalties: false,
  forcedCalls: false,
  singleCalls: false,
  jsonSchema: false,
  jsonObject: false,
  images: 'none',
  files: 'none',
  grammars: false,
  serviceTier: false,
  hostedTools: false,
};
const f = { type: 'function', name: 'f' } as const;
const search = { type: 'web_search' } as const;
const grammar = { type: 'custom', name: 'c', format: { type: 'grammar', syntax: 'lark', definition: 'x' } } as const;
const free = { ...grammar, format: undefined };
const schema = { type: 'json_schema', name: 's', schema: {} } as const;

const rejected = (features: ModelFeatures) => ({ features, mode: 'reject', modelName: 'm' }) as const;
const dropped = (features: ModelFeatures) => ({ features, mode: 'drop', modelName: 'm' }) as const;

describe('what a model can not do', () => {
  it.each<[string, Partial<ModelCall>, Partial<ModelCall>]>([
    ['top_logprobs', { topLogprobs: 2 }, { topLogprobs: undefined }],
    ['include', { topLogprobs: 0 }, { topLogprobs: undefined }],
    ['text.verbosity', { verbosity: 'low' }, { verbosity: undefined }],
    ['reasoning.effort', { reasoningEffort: 'low' }, { reasoningEffort: undefined }],
    ['tool_choice', { tools: [f], toolChoice: 'required' }, { toolChoice: 'auto' }],
    ['tool_choice', { tools: [f], toolChoice: { type: 'function', name: 'f' } }, { toolChoice: 'auto' }],
    ['parallel_tool_calls', { parallelToolCalls: false }, { parallelToolCalls: undefined }],
    ['presence_penalty', { presencePenalty: 1 }, { presencePenalty: undefined }],
    ['frequency_penalty', { frequencyPenalty: 1 }, { frequencyPenalty: undefined }],
    ['text.format', { format: schema }, { format: undefined }],
    ['text.format', { format: { type: 'json_object' } }, { format: undefined }],
    ['service_tier', { serviceTier: 'flex' }, { serviceTier: undefined }],
    ['tools[1].type', { tools: [f, search] }, { tools: [f] }],
    ['tools[0].format', { tools: [grammar, f] }, { tools: [free, f] }],
  ])('%s is refused by name, or left out', (param, fields, without) => {
    const call = modelCall(fields);
    expect(() => fitRequest(call, rejected(nothing))).toThrow(
      expect.objectContaining({ kind: 'invalid_request', code: 'unsupported_value', param }),
    );
    const left = fitRequest(call, dropped(nothing));
    expect(left.dropped).toEqual([param]);
    expect(left.call).toEqual({ ...call, ...without });
    expect(fitRequest(call, rejected(allFeatures))).toEqual({ call, dropped: [] });
  });

  it.each<Partial<ModelCall>>([
    { verbosity: 'medium' },
    { presencePenalty: 0, frequencyPenalty: 0 },
    { parallelToolCalls: true },
    { serviceTier: 'default' },
    { toolChoice: 'none', tools: [f] },
    { tools: [{ type: 'custom', name: 'c', format: { type: 'text' } }] },
  ])('does not matter where nothing is asked: %j', (fields) => {
    const call = modelCall(fields);
    expect(fitRequest(call, rejected(nothing))).toEqual({ call, dropped: [] });
  });

  it('is all left out together, and nothing is demanded that is no longer offered', () => {
    const call = modelCall({
      tools: [search, grammar, { type: 'mcp', server_label: 'a' }],
      toolChoice: { type: 'hosted', choice: search },
      serviceTier: 'flex',
    });
    const { call: fitted, dropped: names } = fitRequest(call, dropped({ ...nothing, forcedCalls: true }));
    expect(fitted).toEqual({ ...call, tools: [free], toolChoice: 'auto', serviceTier: undefined });
    expect(names).toEqual(['service_tier', 'tools[0].type', 'tools[2].type', 'tools[1].format']);
    const only = fitRequest(
      modelCall({ tools: [search], toolChoice: 'required' }),
      dropped({ ...nothing, forcedCalls: true }),
    );
    expect(only.call).toMatchObject({ tools: [], toolChoice: 'auto' });
  });
});

describe('what a model can not look at', () => {
  const text = { type: 'input_text', text: 'see' } as const;
  const image = (url: string) => ({ type: 'input_image', image_url: url, detail: 'auto' }) as const;
  const data = image('DATA:image/png;base64,AA');
  const remote = image('https://example.com/a.png');
  const file = { type: 'input_file', file_data: 'AA', filename: 'a.pdf' } as const;
  const remoteFile = { type: 'input_file', file_url: 'https://example.com/a.pdf' } as const;
  const said = (...content: Extract<Item, { type: 'message' }>['content']): Item => {
    return { id: 'msg_1', type: 'message', status: 'completed', role: 'user', content };
  };
  const fitted = (features: Partial<ModelFeatures>, mode: 'reject' | 'drop', item: Item, isInput = true) =>
    fitItems(modelCall({ items: [item] }), new Set(isInput ? [item] : []), {
      features: { ...nothing, ...features },
      mode,
      modelName: 'm',
    });

  it.each<[string, Partial<ModelFeatures>, Item, boolean]>([
    ['an image by data, where none are taken', { images: 'none' }, said(text, data), false],
    ['an image by URL, where data are taken', { images: 'data' }, said(text, remote), false],
    ['an image by data, where data are taken', { images: 'data' }, said(text, data), true],
    ['an image by URL, where URLs are taken', { images: 'url' }, said(text, remote), true],
    ['a file, where none are taken', { images: 'url' }, said(text, file), false],
    ['a file by URL, where content is taken', { files: 'data' }, said(text, remoteFile), false],
    ['a file with its content, where content is taken', { files: 'data' }, said(text, file), true],
    ['a file by URL, where URLs are taken', { files: 'url' }, said(text, remoteFile), true],
    ['text alone', {}, said(text), true],
    [
      'an image in an output',
      {},
      { id: 'o', type: 'function_call_output', status: 'completed', call_id: 'c', output: [data] },
      false,
    ],
    [
      'an output that is text',
      {},
      { id: 'o', type: 'custom_tool_call_output', status: 'completed', call_id: 'c', output: 'x' },
      true,
    ],
  ])('%s', (_what, features, item, fits) => {
    if (fits) {
      expect(fitted(features, 'reject', item)).toMatchObject({ call: { items: [item] }, dropped: [] });
      return;
    }
    for (const isInput of [true, false]) {
      expect(() => fitted(features, 'reject', item, isInput)).toThrow(
        expect.objectContaining({ code: 'unsupported_value', param: 'input' }),
      );
    }
    const { call, dropped: names } = fitted(features, 'drop', item);
    expect(names).toHaveLength(1);
    expect(JSON.stringify(call.items)).toContain(`[${names[0]} left out]`);
    expect(JSON.stringify(call.items)).not.toMatch(/base64,|example\.com|file_data/);
  });

  it('items of tools that ran elsewhere: refused where they are sent, left out where they are history', () => {
    const item: Item = { id: 'ws_1', type: 'web_search_call', status: 'completed' };
    expect(() => fitted({}, 'reject', item)).toThrow(expect.objectContaining({ param: 'input' }));
    expect(fitted({}, 'reject', item, false)).toMatchObject({ call: { items: [] }, dropped: ['web_search_call'] });
    expect(fitted({}, 'drop', item)).toMatchObject({ call: { items: [] }, dropped: ['web_search_call'] });
    expect(fitted({ hostedTools: true }, 'reject', item)).toMatchObject({ call: { items: [item] }, dropped: [] });
  });
});
