import { onTestFinished } from 'vitest';
import { type StoreType, serve, storeSettings, type TestServer } from './harness.ts';
import { answerText, type Handler, startUpstream, type Upstream } from './upstream.ts';

export type Scripted = { readonly server: TestServer; readonly upstream: Upstream };

/** A server over a scripted chat-completions upstream, which is its default provider. */
export async function serveScripted(
  script: Handler | readonly Handler[] = answerText('Hello there'),
  settings: Record<string, string> = {},
  store: StoreType = 'in-memory',
): Promise<Scripted> {
  const upstream = await startUpstream(script);
  onTestFinished(() => upstream.close());
  const server = await serve({
    'providers.up.base-url': upstream.url,
    'default-provider': 'up',
    'upstream.max-retries': '0',
    ...(await storeSettings(store)),
    ...settings,
  });
  return { server, upstream };
}

/** The contents of the messages that an upstream was given, as texts. */
export function sentTexts(upstream: Upstream, index = -1): string[] {
  const messages: { role: string; content: unknown }[] = upstream.requests.at(index)?.body.messages ?? [];
  return messages.map(
    ({ role, content }) => `${role}: ${typeof content === 'string' ? content : JSON.stringify(content)}`,
  );
}
