import { describe, expect, test } from 'vitest';
import type { HostedItemType } from '../../src/api/items.ts';
import type { ModelEvent } from '../../src/model.ts';
import {
  hosted,
  message,
  responseEvents,
  responsesSse,
  type Said,
  wholeResponse,
} from '../support/responses-upstream.ts';
import { decodeBytes, decodeEvents, decodeWhole } from './responses-decoding.ts';

const call = (name: string, ...moments: string[]) => moments.map((moment) => ({ type: `response.${name}.${moment}` }));

/** An item of each type, with the events that docs/wire.md §4 and OpenAI's description have for it. */
const items: Record<HostedItemType, Said> = {
  apply_patch_call: hosted({
    id: 'apc_1',
    type: 'apply_patch_call',
    call_id: 'call_1',
    status: 'completed',
    operation: { type: 'create_file', path: 'a.txt', diff: '+a' },
  }),
  apply_patch_call_output: hosted({
    id: 'apo_1',
    type: 'apply_patch_call_output',
    call_id: 'call_1',
    status: 'completed',
    output: 'ok',
  }),
  code_interpreter_call: hosted(
    {
      id: 'ci_1',
      type: 'code_interpreter_call',
      status: 'completed',
      container_id: 'cntr_1',
      code: '1+1',
      outputs: [],
    },
    { code: '', outputs: null },
    [
      ...call('code_interpreter_call', 'in_progress'),
      { type: 'response.code_interpreter_call_code.delta', delta: '1+' },
      { type: 'response.code_interpreter_call_code.delta', delta: '1' },
      { type: 'response.code_interpreter_call_code.done', code: '1+1' },
      ...call('code_interpreter_call', 'interpreting', 'completed'),
    ],
  ),
  compaction: hosted({ id: 'cmp_1', type: 'compaction', encrypted_content: 'gAAA' }),
  computer_call: hosted({
    id: 'cu_1',
    type: 'computer_call',
    call_id: 'call_1',
    status: 'completed',
    action: { type: 'click', button: 'left', x: 1, y: 2 },
    pending_safety_checks: [{ id: 'sc_1', code: 'malicious_instructions', message: 'Look out.' }],
  }),
  computer_call_output: hosted({
    id: 'cuo_1',
    type: 'computer_call_output',
    call_id: 'call_1',
    status: 'completed',
    output: { type: 'computer_screenshot', image_url: 'data:image/png;base64,AA==' },
  }),
  file_search_call: hosted(
    { id: 'fs_1', type: 'file_search_call', status: 'completed', queries: ['cats'], results: null },
    { queries: [] },
    call('file_search_call', 'in_progress', 'searching', 'completed'),
  ),
  image_generation_call: hosted(
    { id: 'ig_1', type: 'image_generation_call', status: 'completed', result: 'AAAA', size: '1024x1024' },
    { result: null },
    [
      ...call('image_generation_call', 'in_progress', 'generating'),
      {
        type: 'response.image_generation_call.partial_image',
        partial_image_index: 0,
        partial_image_b64: 'AA',
        output_format: 'png',
      },
      ...call('image_generation_call', 'completed'),
    ],
  ),
  local_shell_call: hosted({
    id: 'lsh_1',
    type: 'local_shell_call',
    call_id: 'call_1',
    status: 'completed',
    action: { type: 'exec', command: ['ls'], env: {} },
  }),
  local_shell_call_output: hosted({
    id: 'lsho_1',
    type: 'local_shell_call_output',
    status: 'completed',
    output: 'a.txt',
  }),
  mcp_approval_request: hosted({
    id: 'mcpr_1',
    type: 'mcp_approval_request',
    server_label: 'deep',
    name: 'ask',
    arguments: '{"q":1}',
  }),
  mcp_approval_response: hosted({
    id: 'mcpa_1',
    type: 'mcp_approval_response',
    approval_request_id: 'mcpr_1',
    approve: true,
  }),
  mcp_call: hosted(
    {
      id: 'mcp_1',
      type: 'mcp_call',
      status: 'completed',
      server_label: 'deep',
      name: 'ask',
      arguments: '{}',
      output: 'x',
    },
    { arguments: '', output: null },
    [
      ...call('mcp_call', 'in_progress'),
      { type: 'response.mcp_call_arguments.delta', delta: '{}' },
      { type: 'response.mcp_call_arguments.done', arguments: '{}' },
      ...call('mcp_call', 'completed'),
    ],
  ),
  mcp_list_tools: hosted(
    { id: 'mcpl_1', type: 'mcp_list_tools', server_label: 'deep', tools: [{ name: 'ask', input_schema: {} }] },
    { tools: [] },
    call('mcp_list_tools', 'in_progress', 'completed'),
  ),
  program: hosted({ id: 'prog_1', type: 'program', call_id: 'call_1', code: 'go()', fingerprint: 'f' }),
  program_output: hosted({
    id: 'progo_1',
    type: 'program_output',
    call_id: 'call_1',
    status: 'completed',
    result: '1',
  }),
  shell_call: hosted(
    { id: 'sh_1', type: 'shell_call', call_id: 'call_1', status: 'completed', action: { commands: ['ls'] } },
    { action: { commands: [] } },
    [
      { type: 'response.shell_call_command.added', command_index: 0, command: '' },
      { type: 'response.shell_call_command.delta', command_index: 0, delta: 'ls' },
      { type: 'response.shell_call_command.done', command_index: 0, command: 'ls' },
    ],
  ),
  shell_call_output: hosted(
    {
      id: 'sho_1',
      type: 'shell_call_output',
      call_id: 'call_1',
      status: 'completed',
      output: [{ stdout: 'a', stderr: '' }],
    },
    { output: [] },
    [
      { type: 'response.shell_call_output_content.delta', command_index: 0, delta: { stdout: 'a' } },
      { type: 'response.shell_call_output_content.done', command_index: 0, output: [{ stdout: 'a' }] },
    ],
  ),
  tool_search_call: hosted({
    id: 'ts_1',
    type: 'tool_search_call',
    execution: 'server',
    arguments: {},
    status: 'completed',
  }),
  tool_search_output: hosted({
    id: 'tso_1',
    type: 'tool_search_output',
    execution: 'server',
    tools: [],
    status: 'completed',
  }),
  web_search_call: hosted(
    { id: 'ws_1', type: 'web_search_call', status: 'completed', action: { type: 'search', query: 'cats' } },
    { action: undefined },
    call('web_search_call', 'in_progress', 'searching', 'completed'),
  ),
};

function momentsOf(events: readonly ModelEvent[]) {
  return events.filter((event) => event.type === 'hosted');
}

/** JSON has no undefined. */
const plain = (value: unknown) => JSON.parse(JSON.stringify(value));

describe('an item of a tool that runs upstream', () => {
  for (const [type, said] of Object.entries(items)) {
    // Between two messages: each item has its place, and its index.
    const all = [message('Look: ', { id: 'msg_a' }), said, message('there.', { id: 'msg_b' })];
    const expected = [
      { type: 'hosted', index: 1, at: { kind: 'added', item: plain(said.announced) } },
      ...said.events.map(({ type: name, ...fields }) => ({
        type: 'hosted',
        index: 1,
        at: { kind: 'event', name, fields },
      })),
      { type: 'hosted', index: 1, at: { kind: 'done', item: said.item } },
    ];

    test(`${type}, cut at every byte of it`, () => {
      const stream = responseEvents(all);
      const bytes = Buffer.from(responsesSse(stream));
      const isItsOwn = (event: (typeof stream)[number]) => event['output_index'] === 1;
      const start = Buffer.byteLength(responsesSse(stream.slice(0, stream.findIndex(isItsOwn))));
      const end = start + Buffer.byteLength(responsesSse(stream.filter(isItsOwn)));
      const whole = JSON.stringify(expected);
      for (let cut = start; cut <= end; cut += 1) {
        const told = momentsOf(decodeBytes(bytes, [cut]));
        if (JSON.stringify(told) !== whole) expect(told, `cut at ${cut}`).toEqual(expected);
      }
      const order = decodeBytes(bytes, []).map((event) => event.type);
      expect(order.indexOf('hosted')).toBeGreaterThan(order.indexOf('spoken_end'));
      expect(order.lastIndexOf('hosted')).toBeLessThan(order.lastIndexOf('text'));
    });

    test(`${type}, whole or told at its end only`, () => {
      const begun = { type: 'hosted', index: 1, at: { kind: 'added', item: said.item } };
      const ends = responseEvents(all).filter(({ type: name }) =>
        ['response.output_item.done', 'response.completed'].includes(String(name)),
      );
      for (const events of [decodeWhole(wholeResponse(all)), decodeEvents(ends), decodeEvents(ends.slice(-1))]) {
        expect(momentsOf(events)).toEqual([begun, expected.at(-1)]);
      }
    });
  }

  test('is told of as begun where the answer ends before it', () => {
    const events = responseEvents([items.web_search_call]).filter(({ type }) => type !== 'response.output_item.done');
    const cut = { type: 'response.incomplete', response: { status: 'incomplete', output: [] } };
    const moments = momentsOf(decodeEvents([...events.slice(0, -1), cut]));
    expect(moments.map(({ at }) => at.kind)).toEqual(['added', 'event', 'event', 'event']);
  });

  test('has no events after its end, and events of nothing are skipped', () => {
    const events = responseEvents([items.web_search_call]);
    const late = { type: 'response.web_search_call.searching', item_id: 'ws_1', output_index: 0 };
    const lost = { type: 'response.web_search_call.searching', item_id: 'ws_9', output_index: 9 };
    const stream = [events[0], lost, ...events.slice(1, -1), late, ...events.slice(-1)];
    expect(decodeEvents(stream)).toEqual(decodeEvents(events));
  });

  test('keeps what its events count for themselves, and nothing of the stream', () => {
    const told = momentsOf(decodeEvents(responseEvents([items.image_generation_call])));
    expect(told[3]?.at).toEqual({
      kind: 'event',
      name: 'response.image_generation_call.partial_image',
      fields: { partial_image_index: 0, partial_image_b64: 'AA', output_format: 'png' },
    });
    expect(JSON.stringify(told.filter(({ at }) => at.kind === 'event'))).not.toMatch(/item_id|output_index|sequence/);
  });
});
