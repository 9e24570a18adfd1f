import { describe, expect, it } from 'vitest';
import { type Json, storeTypes } from '../support/harness.ts';
import { oddStrings } from '../support/injection-corpus.ts';
import { oddSchema } from '../support/injection-fields.ts';
import { expectSame } from '../support/injection-scene.ts';
import { answerItems, customCall, hosted, message, reasoning } from '../support/responses-upstream.ts';
import { serveScripted } from '../support/scripted-server.ts';

const settings = { 'providers.up.api': 'responses', 'providers.up.profile': 'openai' };

describe.each(storeTypes)('odd strings of a Responses upstream on %s', { timeout: 60_000 }, (store) => {
  it('what it says is data too: annotations, inputs, namespaces, thoughts, and items of its own', async () => {
    const { server, upstream } = await serveScripted(undefined, settings, store);
    for (const [round, said] of oddStrings.entries()) {
      const name = said.length <= 128 ? said : 'c';
      // Keys with escapes are left out: V8 mistakes them for others that it saw before (nodejs/node#63785).
      const isPlain = said !== '__proto__' && JSON.stringify(said) === `"${said}"`;
      const annotation = { type: 'note', title: said, [isPlain ? said : 'x']: said };
      const search = { id: said, type: 'web_search_call', status: 'completed', action: oddSchema(round), note: said };
      const call = { id: said.slice(0, 64), name, input: said, namespace: name };
      const items = [
        reasoning({ id: 'rs_1', summary: [said], encrypted: said }),
        message(said, { id: 'msg_1', annotations: [annotation] }),
        hosted(search, {}, [{ type: 'response.web_search_call.searching', note: said, query: oddSchema(round) }]),
        customCall(call),
      ];
      upstream.use(answerItems(items, { service_tier: said }));
      const request = { model: 'm', input: 'x', store: true };
      const answer = round % 2 === 0 ? await server.respond(request) : await server.streamed(request);
      const byType: Json = Object.fromEntries(answer.output.map((item: Json) => [item.type, item]));
      expect(answer.output.map((item: Json) => item.type)).toEqual(items.map(({ item }) => item['type']));
      expectSame([byType.reasoning.summary[0].text, byType.reasoning.encrypted_content], [said, said]);
      expectSame(byType.message.content[0].text, said);
      expectSame(byType.message.content[0].annotations, [annotation]);
      expectSame([byType.web_search_call.note, byType.web_search_call.action], [said, oddSchema(round)]);
      const { custom_tool_call: made } = byType;
      expectSame([made.input, made.name, made.namespace], [said, name, name]);
      expectSame(answer.service_tier, said);
      expectSame((await server.get(`/v1/responses/${answer.id}`)).body, answer);
      const output = { type: 'custom_tool_call_output', call_id: made.call_id, output: said };
      upstream.use(answerItems([message('Bye')]));
      await server.respond({ model: 'm', input: [output], previous_response_id: answer.id });
      const sent: Json[] = upstream.requests.at(-1)?.body.input;
      expectSame(sent.find(({ type }) => type === 'web_search_call')?.action, oddSchema(round));
      expectSame(sent.find(({ type }) => type === 'custom_tool_call_output')?.output, said);
      expect(Object.keys(Object.prototype)).toEqual([]);
    }
  });
});
