import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { banner } from './banner.ts';
import { runCommand } from './commands.ts';
import { type Config, ConfigError, loadConfig } from './config.ts';
import { helpText } from './help.ts';
import { createLogger } from './logger.ts';
import type { RunningServer } from './server.ts';
import { StoreUnavailable } from './store.ts';
import { isWorker, runWorker, type Served, type StartFailure, startWorkers, WorkerFailed } from './workers.ts';

const exitCodes = { failed: 1, misused: 2, SIGINT: 130, SIGTERM: 143 } as const;

/** A signal that comes again within this time is the same one: npm hands on the Ctrl-C that the terminal also sends. */
const repeatMs = 250;

/** How long clients that are cut off may take to be told so. */
const lastWordsMs = 500;

/** The command. Returns when the server runs, or ends the process. `argv` is what follows the command's name. */
export async function main(argv: readonly string[] = process.argv.slice(2)): Promise<void> {
  // A reader that goes away (`open-responses | head`) is no reason to stop.
  process.stdout.on('error', () => {});
  process.stderr.on('error', () => {});
  if (argv.includes('--help') || argv.includes('-h')) {
    process.stdout.write(helpText());
    return;
  }
  if (argv.includes('--version')) {
    process.stdout.write(`${packageVersion()}\n`);
    return;
  }
  if (isWorker(argv)) {
    runWorker(serveAlone, startFailure);
    return;
  }
  try {
    const command = await runCommand(argv);
    if (command !== undefined) {
      process.stdout.write(command.output);
      process.exitCode = command.exitCode;
      return;
    }
    const config = loadConfig({ argv: argv[0] === 'serve' ? argv.slice(1) : argv });
    await serve(config);
  } catch (error) {
    const { message, isMisuse } = startFailure(error);
    process.stderr.write(`open-responses: ${message}\n`);
    process.exit(isMisuse ? exitCodes.misused : exitCodes.failed);
  }
}

async function serve(config: Config): Promise<void> {
  const logger = createLogger(config.log);
  let running: Served | undefined;
  // Before the start: as the first process of a container this one gets no signal that it has no listener for.
  stopOnSignals(() => running, logger);
  surviveDefects(logger);
  const file = fileURLToPath(import.meta.url);
  running = config.server.workers > 1 ? await startWorkers({ config, file, logger }) : await startAlone(config);
  const { url, models } = running;
  process.stdout.write(banner({ version: packageVersion(), url, config, models }));
}

async function startAlone(config: Config): Promise<RunningServer> {
  // Loaded only now, so that --help and a wrong flag are answered at once.
  const { startServer } = await import('./server.ts');
  return startServer(config);
}

/** The same as one of several processes. */
function serveAlone(config: Config): { readonly logger: Logger; readonly served: Promise<Served> } {
  const logger = createLogger(config.log);
  surviveDefects(logger);
  return { logger, served: startAlone(config) };
}

/** The first signal ends the server gracefully, a second one at once, whatever is still open. */
function stopOnSignals(server: () => Pick<Served, 'close'> | undefined, logger: Logger): void {
  let first: { readonly signal: string; readonly atMs: number } | undefined;
  let exitCode = 0;
  const stop = (signal: 'SIGINT' | 'SIGTERM'): void => {
    const nowMs = performance.now();
    if (first?.signal === signal && nowMs - first.atMs < repeatMs) return;
    const running = server();
    if (running === undefined || exitCode !== 0) process.exit(exitCodes[signal]);
    if (first !== undefined) {
      exitCode = exitCodes[signal];
      setTimeout(() => process.exit(exitCode), lastWordsMs);
    }
    running.close({ force: first !== undefined }).then(
      () => process.exit(exitCode),
      (error: unknown) => {
        logger.error({ err: error }, 'the server could not be closed in order');
        process.exit(exitCode === 0 ? exitCodes.failed : exitCode);
      },
    );
    first ??= { signal, atMs: nowMs };
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop);
}

/**
 * No request may end the process: everybody else's streams would end with it. A defect that escaped its own request
 * leaves that request broken at worst, for what is stored changes only by atomic appends in the database. So it is
 * logged with its cause, and the server goes on.
 */
function surviveDefects(logger: Logger): void {
  process.on('uncaughtException', (error) => logger.error({ err: error }, 'an error that nothing caught'));
  process.on('unhandledRejection', (reason) => logger.error({ err: reason }, 'a rejection that nothing handled'));
}

function startFailure(error: unknown): StartFailure {
  return { message: oneLine(failureText(error)), isMisuse: error instanceof ConfigError };
}

function failureText(error: unknown): string {
  if (error instanceof ConfigError || error instanceof WorkerFailed) return error.message;
  if (error instanceof StoreUnavailable) return error.message;
  if (!(error instanceof Error)) return `The server can't start: ${String(error)}`;
  const { code, port, address } = error as { code?: unknown; port?: unknown; address?: unknown };
  switch (code) {
    case 'EADDRINUSE':
      return `Port ${port} on ${address} is already in use. Stop what uses it, or choose another with --server.port.`;
    case 'EADDRNOTAVAIL':
      return `${address} is no address of this machine. Choose another with --server.host.`;
    case 'EACCES':
      if (port !== undefined) return `This user may not listen on port ${port}. Choose another with --server.port.`;
      break;
    case 'ENOTFOUND':
      return `The server can't start: there is no host of the name in server.host (${error.message}).`;
  }
  const cause = error.cause instanceof Error ? ` (${error.cause.message})` : '';
  return `The server can't start: ${error.message}${cause}`;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s*[\r\n]+\s*/g, ' ');
}

function packageVersion(): string {
  const content: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  const isPackage = typeof content === 'object' && content !== null && 'version' in content;
  return isPackage ? String(content.version) : 'unknown';
}

/** Whether Node was started with this file. The launcher imports it, and calls main() itself. */
function isStarted(): boolean {
  const started = process.argv[1];
  return started !== undefined && existsSync(started) && realpathSync(started) === fileURLToPath(import.meta.url);
}

if (isStarted()) await main();
