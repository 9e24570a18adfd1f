import { createDemoModel } from '../../src/models/demo/demo.ts';
import { modelCall, modelContract, type Scenario, userSays } from '../contracts/model.ts';

const weather = {
  type: 'function' as const,
  name: 'get_weather',
  description: 'The weather in a city',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
};

function callFor(scenario: Scenario) {
  switch (scenario) {
    case 'text':
      return modelCall({ items: [userSays('Say this is long enough for several pieces.')] });
    case 'tool':
      return modelCall({ items: [userSays('What is the weather in Paris and Rome?')], tools: [weather] });
    case 'json':
      return modelCall({ items: [userSays('Describe yourself.')], format: { type: 'json_object' } });
  }
}

for (const chunkDelayMs of [0, 1]) {
  modelContract(`demo, ${chunkDelayMs} ms between pieces`, () => ({
    model: createDemoModel({ chunkDelayMs, chunkChars: 5 }),
    call: callFor,
    close: async () => undefined,
  }));
}
