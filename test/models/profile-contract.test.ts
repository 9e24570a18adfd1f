import { profiles } from '../../src/models/profiles.ts';
import { modelCall, modelContract, userSays } from '../contracts/model.ts';
import { fixtureCall } from './fixture-files.ts';
import { scene } from './support.ts';
import { inTheStyleOf } from './vendor-style.ts';

for (const profile of profiles.keys()) {
  modelContract(`chat completions, profile ${profile}`, async () => {
    const { model, close } = await scene(inTheStyleOf(profile), { profile });
    const base = modelCall({ items: [userSays('Hello')] });
    const calls = {
      text: base,
      tool: { ...base, tools: fixtureCall.tools },
      json: { ...base, format: { type: 'json_object' } },
    } as const;
    return { model, call: (scenario) => calls[scenario], close };
  });
}
