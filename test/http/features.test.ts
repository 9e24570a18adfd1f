import { expect, it } from 'vitest';
import { serveScripted } from '../support/scripted-server.ts';

const tools = [{ type: 'function', name: 'f' }];

it.each([
  ['ollama', { tools, tool_choice: 'required' }, 'tool_choice'],
  ['ollama', { tools, tool_choice: { type: 'function', name: 'f' } }, 'tool_choice'],
  ['ollama', { tools, parallel_tool_calls: false }, 'parallel_tool_calls'],
  ['ollama', { text: { verbosity: 'low' } }, 'text.verbosity'],
  ['generic', { text: { verbosity: 'high' } }, 'text.verbosity'],
])('what a profile (%s) can not do is refused before the call: %j', async (profile, body, param) => {
  const { server, upstream } = await serveScripted(undefined, { 'providers.up.profile': profile });
  const answer = await server.post('/v1/responses', { model: 'm', input: 'x', ...body });
  expect(answer.status).toBe(400);
  expect(answer.body.error).toMatchObject({ param, code: 'unsupported_value' });
  expect(upstream.requests).toEqual([]);
});

it.each([
  [{ top_logprobs: 2 }, 'top_logprobs'],
  [{ include: ['message.output_text.logprobs'] }, 'include'],
])('the demo has no log probabilities to give: %j', async (body, param) => {
  const { server } = await serveScripted();
  const answer = await server.post('/v1/responses', { model: 'demo', input: 'x', ...body });
  expect(answer.body.error).toMatchObject({ param, code: 'unsupported_value' });
});
