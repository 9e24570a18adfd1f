import { expect, it } from 'vitest';
import { createLogger } from '../../src/logger.ts';

it('credentials that come near the log are redacted', () => {
  const lines: string[] = [];
  const logger = createLogger({ level: 'info', content: true }, { write: (line) => void lines.push(line) });
  logger.info({ headers: { authorization: 'Bearer sk-secret' } }, 'x');
  logger.info({ req: { headers: { authorization: 'Bearer sk-secret' } } }, 'x');
  logger.info({ provider: { apiKey: 'sk-secret' } }, 'x');
  expect(lines).toHaveLength(3);
  for (const line of lines) {
    expect(line).toContain('[redacted]');
    expect(line).not.toContain('sk-secret');
  }
});
