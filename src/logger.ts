import { type DestinationStream, type Logger, pino } from 'pino';
import type { Config } from './config.ts';
import { ApiError } from './errors.ts';

/** Logs go to stderr, one JSON object per line; without `content`, nothing that users, models or providers said is in them. */
export function createLogger(
  { level, content }: Config['log'],
  destination: DestinationStream = pino.destination(2),
): Logger {
  const redact = { paths: ['req.headers.authorization', 'headers.authorization', '*.apiKey'], censor: '[redacted]' };
  const serializers = { err: content ? pino.stdSerializers.err : discreet };
  return pino({ level, redact, serializers }, destination);
}

/** How many causes of causes are told. */
const maxCauses = 4;

type ErrorLine = {
  readonly type: string;
  readonly message: string | undefined;
  readonly code: string | undefined;
  readonly stack: string;
  readonly cause: ErrorLine | undefined;
};

function discreet(thrown: unknown, depth = 0): ErrorLine | undefined {
  if (!(thrown instanceof Error)) return undefined;
  const { code } = thrown as { readonly code?: unknown };
  return {
    type: thrown instanceof ApiError ? `ApiError ${thrown.kind}` : thrown.name,
    message: ownWords(thrown),
    code: typeof code === 'string' ? code : undefined,
    // Its first lines are the message.
    stack: (thrown.stack ?? '')
      .split('\n')
      .filter((line) => /^\s+at /.test(line))
      .join('\n'),
    cause: depth < maxCauses ? discreet(thrown.cause, depth + 1) : undefined,
  };
}

/** What of a message is ours: providers quote the request, and the JSON parser what it could not read. */
function ownWords(error: Error): string | undefined {
  if (error instanceof SyntaxError) return undefined;
  if (!(error instanceof ApiError)) return error.message;
  switch (error.kind) {
    case 'upstream_failed':
    case 'upstream_unavailable':
    case 'upstream_timeout':
      return /^Provider `[^`]*` [^:]*/.exec(error.message)?.[0];
    case 'internal':
    case 'unavailable':
    case 'loop':
      return error.message;
    default:
      return undefined;
  }
}
