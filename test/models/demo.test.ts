import { describe, expect, test } from 'vitest';
import type { Item, MessageItem } from '../../src/api/items.ts';
import type { FunctionTool } from '../../src/api/tools.ts';
import type { ModelCall, ModelEvent } from '../../src/model.ts';
import { createDemoModel } from '../../src/models/demo/demo.ts';
import { callsOf, modelCall, run, textOf } from '../contracts/model.ts';

const model = createDemoModel({ chunkDelayMs: 0, chunkChars: 7 });

function says(role: MessageItem['role'], text: string): Item {
  const part =
    role === 'assistant'
      ? { type: 'output_text' as const, text, annotations: [], logprobs: [] }
      : { type: 'input_text' as const, text };
  return { id: `msg_${text.length}`, type: 'message', status: 'completed', role, content: [part] };
}

/** The user's messages, each but the last answered. */
function talk(...texts: string[]): Item[] {
  return texts.flatMap((text, index) => [
    says('user', text),
    ...(index < texts.length - 1 ? [says('assistant', 'Noted.')] : []),
  ]);
}

async function events(fields: Partial<ModelCall>): Promise<ModelEvent[]> {
  const started = run(model, modelCall(fields));
  await started.ended;
  return started.events;
}

async function answer(items: Item[], fields: Partial<ModelCall> = {}): Promise<string> {
  return textOf(await events({ items, ...fields }));
}

function fn(name: string, description: string, properties: Record<string, object>): FunctionTool {
  const parameters = { type: 'object', properties, required: Object.keys(properties), additionalProperties: false };
  return { type: 'function', name, description, parameters };
}

const weather = fn('get_weather', 'Get the current weather for a city', {
  city: { type: 'string' },
  unit: { type: ['string', 'null'], enum: ['celsius', 'fahrenheit', null] },
});
const time = fn('get_time', 'The current time somewhere', { location: { type: 'string' } });
const numbers = fn('add_numbers', 'Adds two numbers', { a: { type: 'number' }, b: { type: 'number' } });
const calculator = fn('calculator', 'Evaluates', { expression: { type: 'string' } });
const mail = fn('send_email', 'Sends an e-mail', {
  to: { type: 'string', format: 'email' },
  subject: { type: 'string' },
});

describe('recall', () => {
  test.each([
    [['My name is Ada.', 'What is my name?'], 'Your name is Ada.'],
    [['Hi, my name is Bob!', 'ok', 'Do you know my name?'], 'Your name is Bob.'],
    [['My name is Ada', 'No, my name is Eve.', 'Tell me my name, please'], 'Your name is Eve.'],
    [["I'm Ada and I live in London.", 'Who am I?'], 'Your name is Ada.'],
    [["I'm Ada and I live in London.", 'Where do I live?'], 'You live in London.'],
    [['I like tea', 'What do I like?'], 'You like tea.'],
    [['I am 36 years old', 'How old am I?'], 'You are 36 years old.'],
    [['The code word is plum.', 'What is the code word?'], 'The code word is plum.'],
    [['Remember that the code word is plum.', 'What is the code word?'], 'The code word is plum.'],
    [['remember the number 42', 'What number did I ask you to remember?'], 'The number 42.'],
    [['My dog is called Rex', "What is my dog's name?", 'What is my dog called?'], 'Your dog is Rex.'],
    [['I like tea', 'My sign is Leo', 'What do you remember?'], 'You told me: you like tea; your sign is Leo.'],
    [['one', 'two', 'What did I say first?'], 'Your first message was: "one"'],
    [['one', 'two', 'What did I say last?'], 'Your previous message was: "two"'],
    [['one', 'two', 'What did I say before?'], 'Your previous message was: "two"'],
    [['What did I say before?'], 'You have not said anything before this.'],
    [['What is my name?'], 'You have not told me your name yet.'],
    [['What do you remember?'], 'You have not told me anything to remember yet.'],
  ])('%j', async (texts, expected) => {
    expect(await answer(talk(...texts))).toBe(expected);
  });

  test('a question states nothing', async () => {
    const text = await answer(talk('My name is what?', 'What is my name?'));
    expect(text).toBe('You have not told me your name yet.');
  });
});

describe('answers', () => {
  test.each([
    ['Say exactly: hello world.', 'hello world.'],
    ['Please say "hi there"', 'hi there'],
    ['Repeat after me: foo  bar', 'foo  bar'],
    ['Reply with exactly one word: pong', 'pong'],
    ['You are tested. Reply with: yes', 'yes'],
    ['Count to 5', '1, 2, 3, 4, 5'],
    ['Count from 3 to 6, please.', '3, 4, 5, 6'],
    ['What are your instructions?', 'I have no instructions.'],
  ])('%s', async (prompt, expected) => {
    expect(await answer(talk(prompt))).toBe(expected);
  });

  test('counting is bounded', async () => {
    expect((await answer(talk('count to 999999999'))).split(', ')).toHaveLength(1_000);
  });

  test('says what it is, what it heard, and how many messages there were', async () => {
    const text = await answer(talk('Hello there', 'And again'), { instructions: 'The secret is plum.' });
    expect(text).toBe('I am a scripted demo model. You said: "And again". This is message 3 of our conversation.');
    expect(await answer([])).toBe('There is no message to answer yet.');
  });

  test('verbosity and effort are followed', async () => {
    const lengths = await Promise.all(
      (['low', 'medium', 'high'] as const).map(
        async (verbosity) => (await answer(talk('Hello'), { verbosity })).length,
      ),
    );
    expect(lengths).toEqual([...lengths].sort((one, other) => one - other));
    expect(new Set(lengths).size).toBe(3);
    const thoughtful = await events({ items: talk('Hello'), reasoningEffort: 'high' });
    expect(thoughtful.some((event) => event.type === 'reasoning')).toBe(true);
  });

  test.each([
    ['Answer in one word.', 'What is my name?', 'Ada'],
    ["Answer in one word. Always end with 'Arr!'", 'What is my name?', 'Ada Arr!'],
    ['Be kind. Always end with meow. Be brief.', 'What is my name?', 'Your name is Ada. meow'],
    ['Reply with exactly: OK', 'What is my name?', 'OK'],
    ['Always begin with "Well,"', 'What is my name?', 'Well, Your name is Ada.'],
    ['Write in upper case.', 'What is my name?', 'YOUR NAME IS ADA.'],
    ['Your name is Bob.', 'Who are you?', 'My name is Bob.'],
    ['Be nice.', 'What are your instructions?', 'My instructions are: Be nice.'],
  ])('instructions: %s %s', async (instructions, prompt, expected) => {
    expect(await answer(talk('My name is Ada.', prompt), { instructions })).toBe(expected);
    expect(await answer([says('developer', instructions), ...talk('My name is Ada.', prompt)])).toBe(expected);
  });

  test('images', async () => {
    const url = `data:image/png;base64,${Buffer.alloc(68).toString('base64')}`;
    const image = (image_url: string) => ({ type: 'input_image' as const, image_url, detail: 'auto' as const });
    const shown = (...urls: string[]): Item => ({
      id: 'msg_1',
      type: 'message',
      status: 'completed',
      role: 'user',
      content: urls.map(image),
    });
    expect(await answer([shown(url)])).toBe('I was given 1 image: image/png, 68 bytes.');
    const two = [shown(url, 'https://example.com/cat.jpg'), ...talk('What is this?')];
    expect(await answer(two)).toBe('I was given 2 images: image/png, 68 bytes; https://example.com/cat.jpg.');
    expect(await answer([...two, says('assistant', 'A cat.'), ...talk('Hello')])).not.toContain('image/png');
    expect(await answer([...two, says('assistant', 'A cat.'), ...talk('Which images?')])).toContain('image/png');
  });
});

describe('functions', () => {
  const tools = [weather, time, numbers, calculator, mail];
  test.each([
    ['What is the weather in Paris?', [['get_weather', { city: 'Paris', unit: null }]]],
    ["What's the weather like in San Francisco today?", [['get_weather', { city: 'San Francisco', unit: null }]]],
    ['weather in Paris, France in fahrenheit', [['get_weather', { city: 'Paris, France', unit: 'fahrenheit' }]]],
    [
      'What is the weather in Paris and Rome?',
      [
        ['get_weather', { city: 'Paris', unit: null }],
        ['get_weather', { city: 'Rome', unit: null }],
      ],
    ],
    [
      'The weather in Paris and the time in Tokyo, please.',
      [
        ['get_weather', { city: 'Paris', unit: null }],
        ['get_time', { location: 'Tokyo' }],
      ],
    ],
    ['Add 2 and 3.5', [['add_numbers', { a: 2, b: 3.5 }]]],
    ['What is 12 * (3+4)?', [['calculator', { expression: '12 * (3+4)' }]]],
    ['Send an email to ada@example.com saying "Hello"', [['send_email', { to: 'ada@example.com', subject: 'Hello' }]]],
    ['Hello there', []],
    ['My name is Ada. What is my name?', []],
  ] as [string, [string, object][]][])('%s', async (prompt, expected) => {
    const made = callsOf(await events({ items: talk(prompt), tools }));
    expect(made.map((call) => [call.name, JSON.parse(call.arguments)])).toEqual(expected);
    expect(made.map((call) => call.id)).toEqual(expected.map((_, index) => `call_demo_${index + 1}`));
  });

  test.each([
    [{ toolChoice: 'none' as const }, []],
    [{ toolChoice: { type: 'function' as const, name: 'get_time' } }, ['get_time', 'get_time']],
    [{ parallelToolCalls: false }, ['get_weather']],
  ])('%j', async (fields, expected) => {
    const made = callsOf(await events({ items: talk('weather in Paris and Rome'), tools, ...fields }));
    expect(made.map((call) => call.name)).toEqual(expected);
  });

  test('required forces one', async () => {
    const made = callsOf(await events({ items: talk('Hello'), tools, toolChoice: 'required' }));
    expect(made).toHaveLength(1);
    expect(JSON.parse(made[0]!.arguments)).toEqual({ city: 'example', unit: null });
  });

  test('answers with what came back, and calls no more than the question needs', async () => {
    const items: Item[] = talk('weather in Paris and Rome');
    const asked: string[] = [];
    for (let turn = 0; turn < 5; turn += 1) {
      const made = callsOf(await events({ items, tools, parallelToolCalls: false }));
      if (made.length === 0) break;
      expect(made).toHaveLength(1);
      const { id, name, arguments: args } = made[0]!;
      asked.push(id ?? '');
      items.push({
        id: `fc_${turn}`,
        type: 'function_call',
        status: 'completed',
        call_id: id ?? '',
        name,
        arguments: args,
      });
      items.push({
        id: `fco_${turn}`,
        type: 'function_call_output',
        status: 'completed',
        call_id: id ?? '',
        output: `${20 + turn} °C`,
      });
    }
    expect(asked).toEqual(['call_demo_1', 'call_demo_2']);
    expect(await answer(items, { tools, toolChoice: 'required' })).toBe(
      'get_weather returned: 20 °C\nget_weather returned: 21 °C',
    );
    const again = [...items, says('assistant', 'Mild.'), ...talk('And the weather in Oslo?')];
    expect(callsOf(await events({ items: again, tools })).map((call) => call.arguments)).toEqual([
      '{"city":"Oslo","unit":null}',
    ]);
  });
});

describe('scripts', () => {
  const kinds = (all: ModelEvent[]) => [...new Set(all.map((event) => event.type))];
  test.each([
    ['demo: refuse', ['start', 'model', 'refusal', 'usage', 'end'], 'stop'],
    ['demo: think', ['start', 'model', 'reasoning', 'text', 'usage', 'end'], 'stop'],
    ['demo: filter', ['start', 'model', 'text', 'usage', 'end'], 'content_filter'],
    ['demo: empty', ['start', 'model', 'usage', 'end'], 'stop'],
    ['demo: fail', ['start', 'model', 'end'], 'error'],
    ['Demo: fail midway.', ['start', 'model', 'text', 'end'], 'error'],
  ])('%s', async (prompt, types, reason) => {
    for (const streamed of [true, false]) {
      const all = await events({ items: talk(prompt), streamed });
      expect(kinds(all)).toEqual(types);
      expect(all.at(-1)).toMatchObject({ type: 'end', reason });
      if (reason === 'error') expect(all.at(-1)).toMatchObject({ error: { kind: 'upstream_failed' } });
    }
  });

  test('thinks, then goes on with the rest', async () => {
    const all = await events({ items: talk('My name is Ada.', 'demo: think. What is my name?') });
    expect(textOf(all)).toBe('Your name is Ada.');
    const usage = all.find((event) => event.type === 'usage')?.usage;
    expect(usage?.output_tokens_details.reasoning_tokens).toBeGreaterThan(0);
  });
});

describe('tokens', () => {
  test('max_output_tokens cuts texts, thoughts and arguments', async () => {
    const cases = [
      { items: talk('count to 100') },
      { items: talk('demo: think') },
      { items: talk('weather in Paris and Rome'), tools: [weather] },
      { items: talk('hi'), format: { type: 'json_object' as const } },
    ];
    for (const fields of cases) {
      const whole = await events(fields);
      const total = whole.find((event) => event.type === 'usage')!.usage.output_tokens;
      for (let maxOutputTokens = 1; maxOutputTokens <= total; maxOutputTokens += 1) {
        const all = await events({ ...fields, maxOutputTokens });
        const usage = all.find((event) => event.type === 'usage')!.usage;
        expect(usage.output_tokens).toBeLessThanOrEqual(maxOutputTokens);
        expect(usage.total_tokens).toBe(usage.input_tokens + usage.output_tokens);
        expect(all.at(-1)).toEqual({ type: 'end', reason: maxOutputTokens < total ? 'max_output_tokens' : 'stop' });
        expect(textOf(whole).startsWith(textOf(all))).toBe(true);
      }
    }
  });

  test('input counts items, instructions and tools', async () => {
    const input = async (fields: Partial<ModelCall>) =>
      (await events(fields)).find((event) => event.type === 'usage')!.usage.input_tokens;
    const bare = await input({ items: talk('Hello') });
    expect(bare).toBeGreaterThan(0);
    expect(await input({ items: talk('Hello'), instructions: 'Be nice.' })).toBeGreaterThan(bare);
    expect(await input({ items: talk('Hello'), tools: [weather] })).toBeGreaterThan(bare);
    expect(await input({ items: talk('Hello', 'Hello') })).toBeGreaterThan(bare);
  });
});

test('the same call has the same events, whatever the sampling', async () => {
  const fields = { items: talk('weather in Paris and Rome'), tools: [weather] };
  const first = await events(fields);
  expect(await events({ ...fields, temperature: 2, topP: 0.1, presencePenalty: 2, frequencyPenalty: -2 })).toEqual(
    first,
  );
  const whole = await events({ ...fields, streamed: false });
  expect(callsOf(whole)).toEqual(callsOf(first));
  expect(whole.filter((event) => event.type === 'tool_arguments')).toHaveLength(2);
});

test('strange texts neither throw nor take long', async () => {
  const texts = [
    '',
    ' ',
    '\ud800',
    '"'.repeat(50_000),
    'my '.repeat(50_000),
    'I am '.repeat(20_000),
    'in A'.repeat(50_000),
    '1 + '.repeat(50_000),
    'say',
    'count to',
    '(((((',
    `${'A '.repeat(10_000)}is?`,
    'A'.repeat(1_000_000),
    ' '.repeat(100_000),
    'Always end with '.repeat(5_000),
    `Always end with ${'!'.repeat(50_000)}x`,
    `my x is ${'.'.repeat(50_000)}x`,
    `my x is ${' '.repeat(50_000)}x`,
    `weather in ${'Ab, '.repeat(50_000)}`,
    `calculator ${'1-'.repeat(50_000)}`,
    `${'\n'.repeat(50_000)}x`,
  ];
  for (const text of texts) {
    const startedMs = performance.now();
    const all = await events({
      items: talk(text, `What is ${text}`),
      instructions: text,
      tools: [weather, calculator, mail],
    });
    expect(all.at(-1)).toEqual({ type: 'end', reason: 'stop' });
    expect(performance.now() - startedMs, text.slice(0, 20)).toBeLessThan(3_000);
  }
});
