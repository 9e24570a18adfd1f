import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, join } from 'node:path';
import { root as checkout, type Variables } from './compose-file.ts';
import { execForm, healthCommand, type Instruction, isInContext, lastOf, pairsOf, type Stage } from './dockerfile.ts';

/** How much of a process's output is kept. */
const maxOutputChars = 200_000;
/** Installing from an empty npm cache takes its time. */
const commandTimeoutMs = 240_000;

const isRoot = process.getuid?.() === 0;

/** A process that runs as one of a container's would. */
export type Running = {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  /** Resolves when its standard output holds this. */
  printed(pattern: RegExp): Promise<string>;
  output(): string;
};

/**
 * The image that a Dockerfile's instructions make, without a container engine: each stage is a folder that stands for its
 * root, and an absolute path in an instruction is put below it. Node.js is this process's own, npm the machine's.
 * Without root nothing is given to another user, nor run as one.
 */
export class HandmadeImage {
  /** Stands for `/`. */
  readonly root: string;
  readonly #stage: Stage;
  readonly #folder: string;

  private constructor(folder: string, root: string, stage: Stage) {
    this.#folder = folder;
    this.root = root;
    this.#stage = stage;
  }

  /** Carries out all instructions of all stages. */
  static async build(stages: readonly Stage[]): Promise<HandmadeImage> {
    // Not with the rights of a temporary folder: another user runs what is in it.
    const folder = mkdtempSync(join(tmpdir(), 'open-responses-image-'));
    chmodSync(folder, 0o755);
    const roots = new Map<string, string>();
    let image: HandmadeImage | undefined;
    try {
      for (const [index, stage] of stages.entries()) {
        const root = join(folder, String(index));
        layBase(root);
        await new StageBuild(root, roots).run(stage.instructions);
        if (stage.name !== undefined) roots.set(stage.name, root);
        image = new HandmadeImage(folder, root, stage);
      }
      if (image === undefined) throw new Error('there is no stage');
      return image;
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Takes every right to write away, as a read-only root file system does, except below these folders. */
  makeReadOnly(except: readonly string[]): void {
    const kept = except.map((path) => join(this.root, path));
    const lock = (path: string): void => {
      if (kept.includes(path)) return;
      const info = statSync(path);
      if (info.isDirectory()) for (const name of readdirSync(path)) lock(join(path, name));
      if (info.nlink === 1 || info.isDirectory()) chmodSync(path, info.mode & 0o555);
    };
    lock(join(this.root, lastOf(this.#stage, 'WORKDIR')?.text ?? '/'));
    chmodSync(this.root, 0o555);
  }

  /** Starts ENTRYPOINT and CMD with the image's environment and this one on top. */
  start(environment: Variables): Running {
    const words = ['ENTRYPOINT', 'CMD'].flatMap((keyword) => execForm(lastOf(this.#stage, keyword)?.text));
    return this.#run(words, environment);
  }

  /** Runs the health check as the engine does. Resolves with its exit code. */
  checkHealth(environment: Variables): Promise<number | null> {
    return this.#run(healthCommand(this.#stage), environment).ended;
  }

  /** Runs a command as the image's user. Resolves with its exit code. */
  execute(words: readonly string[], environment: Variables = {}): Promise<number | null> {
    return this.#run(words, environment).ended;
  }

  async remove(): Promise<void> {
    // Nothing can be removed from a folder that can't be written to.
    const unlock = (path: string): void => {
      chmodSync(path, 0o755);
      for (const entry of readdirSync(path, { withFileTypes: true })) {
        if (entry.isDirectory()) unlock(join(path, entry.name));
      }
    };
    unlock(this.root);
    await rm(this.#folder, { recursive: true, force: true });
  }

  #run(words: readonly string[], environment: Variables): Running {
    const [uid = 0, gid = 0] = (lastOf(this.#stage, 'USER')?.text ?? '').split(':').map(Number);
    const own = { ...pairsOf(this.#stage, 'ENV'), ...environment };
    const env = Object.entries(own).map(([name, value]) => [name, moved(value, this.root)]);
    const [command = '', ...args] = words.map((word) => moved(word, this.root));
    const child = spawn(command, args, {
      cwd: join(this.root, lastOf(this.#stage, 'WORKDIR')?.text ?? '/'),
      env: { PATH: join(this.root, 'usr/local/bin'), HOME: '/nonexistent', ...Object.fromEntries(env) },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(isRoot ? { uid, gid } : {}),
    });
    return watch(child);
  }
}

/** Carries out the instructions of one stage. */
class StageBuild {
  readonly #root: string;
  readonly #stages: ReadonlyMap<string, string>;
  #workdir = '/';
  #env: Record<string, string> = {};

  constructor(root: string, stages: ReadonlyMap<string, string>) {
    this.#root = root;
    this.#stages = stages;
  }

  async run(instructions: readonly Instruction[]): Promise<void> {
    for (const instruction of instructions) await this.#one(instruction);
  }

  async #one(instruction: Instruction): Promise<void> {
    const { keyword, text } = instruction;
    switch (keyword) {
      case 'WORKDIR':
        this.#workdir = text;
        mkdirSync(this.#path(text), { recursive: true, mode: 0o755 });
        return;
      case 'ENV':
        this.#env = { ...this.#env, ...pairsOf({ image: '', name: undefined, instructions: [instruction] }, 'ENV') };
        return;
      case 'COPY':
        return this.#copy(instruction);
      case 'RUN':
        return this.#shell(text);
      case 'LABEL':
      case 'USER':
      case 'EXPOSE':
      case 'STOPSIGNAL':
      case 'HEALTHCHECK':
      case 'ENTRYPOINT':
      case 'CMD':
        return;
      default:
        throw new Error(`${keyword} can't be done by hand`);
    }
  }

  #copy({ flags, text }: Instruction): void {
    const { from, ...others } = flags;
    if (Object.keys(others).length > 0) throw new Error(`COPY with ${Object.keys(others)}`);
    const paths = text.split(/\s+/);
    const target = paths.at(-1) ?? '';
    const sources = paths.slice(0, -1);
    for (const source of sources) {
      const path = from === undefined ? fromContext(source) : join(this.#stages.get(from) ?? '', source);
      const isFolder = statSync(path).isDirectory();
      const isInto = !isFolder && (target.endsWith('/') || sources.length > 1);
      const place = isInto ? join(this.#path(target), basename(source)) : this.#path(target);
      cpSync(path, place, { recursive: true, verbatimSymlinks: true });
      if (from === undefined) makePrivate(place);
    }
  }

  async #shell(text: string): Promise<void> {
    const child = spawn('/bin/sh', ['-c', `umask 022; ${moved(text, this.#root)}`], {
      cwd: this.#path('.'),
      env: {
        ...outerEnvironment(),
        ...this.#env,
        PATH: [join(this.#root, 'usr/local/bin'), '/usr/bin', '/bin'].join(delimiter),
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: commandTimeoutMs,
    });
    const { ended, output } = watch(child);
    const code = await ended;
    if (code !== 0) throw new Error(`RUN ${text}: exit code ${code}\n${output()}`);
  }

  #path(path: string): string {
    return path.startsWith('/') ? join(this.#root, path) : join(this.#root, this.#workdir, path);
  }
}

/** What the base image brings: Node.js and npm. */
function layBase(root: string): void {
  const bin = join(root, 'usr/local/bin');
  mkdirSync(bin, { recursive: true });
  for (const folder of ['', 'usr', 'usr/local', 'usr/local/bin']) chmodSync(join(root, folder), 0o755);
  const node = join(bin, 'node');
  const first = join(dirname(root), '0/usr/local/bin/node');
  if (existsSync(first)) linkSync(first, node);
  else copyFileSync(process.execPath, node);
  chmodSync(node, 0o755);
  symlinkSync(findNpm(), join(bin, 'npm'));
  if (isRoot) return;
  writeFileSync(join(bin, 'chown'), '#!/bin/sh\nexit 0\n', { mode: 0o755 });
}

/** The machine's npm, never one of this checkout's packages. */
function findNpm(): string {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules'));
  const found = folders.map((folder) => join(folder, 'npm')).find((path) => existsSync(path));
  if (found === undefined) throw new Error('there is no npm on this machine');
  return found;
}

/** What an outer npm and the test runner say of themselves must not reach the build. */
function outerEnvironment(): Record<string, string | undefined> {
  const foreign =
    /^(?:npm_(?:package|lifecycle|command|execpath|node_execpath|config_local_prefix)|INIT_CWD|NODE_|VITEST|TEST|OPEN_RESPONSES_|OPENAI_)/;
  const kept = Object.entries(process.env).filter(([name]) => !foreign.test(name) || name === 'NODE_EXTRA_CA_CERTS');
  return { ...Object.fromEntries(kept), npm_config_prefer_offline: 'true', npm_config_update_notifier: 'false' };
}

function fromContext(source: string): string {
  if (!isInContext(source)) throw new Error(`COPY ${source}: not in the build context`);
  return join(checkout, source);
}

/** As in a checkout made with a strict umask: what the image's user must read, the Dockerfile has to see to. */
function makePrivate(path: string): void {
  const isFolder = statSync(path).isDirectory();
  if (isFolder) for (const name of readdirSync(path)) makePrivate(join(path, name));
  chmodSync(path, isFolder ? 0o700 : 0o600);
  if (isRoot) chownSync(path, 0, 0);
}

/** Absolute paths below the folder that stands for the root: words of a command, or a whole value. */
function moved(text: string, root: string): string {
  return text.replaceAll(/(^|\s)\/(?=\w)/g, (_, before: string) => `${before}${root}/`);
}

function watch(child: ChildProcess): Running {
  const text = { out: '', err: '' };
  const looking = new Set<() => void>();
  const take = (key: 'out' | 'err') => (piece: string) => {
    text[key] = (text[key] + piece).slice(-maxOutputChars);
    for (const look of looking) look();
  };
  child.stdout?.setEncoding('utf8').on('data', take('out'));
  child.stderr?.setEncoding('utf8').on('data', take('err'));
  const ended = once(child, 'close').then(([code]) => code as number | null);
  const printed = (pattern: RegExp) =>
    new Promise<string>((resolve, reject) => {
      const look = () => {
        const found = pattern.exec(text.out);
        if (found === null) return;
        looking.delete(look);
        resolve(found[0]);
      };
      looking.add(look);
      look();
      ended.then((code) => reject(new Error(`It ended with ${code}: ${text.out}${text.err}`)), reject);
    });
  return { child, ended, printed, output: () => text.out + text.err };
}
