import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './compose-file.ts';

export type Instruction = {
  /** In upper case. */
  readonly keyword: string;
  readonly flags: Readonly<Record<string, string>>;
  /** What follows keyword and flags, on one line. */
  readonly text: string;
};

export type Stage = {
  readonly image: string;
  readonly name: string | undefined;
  readonly instructions: readonly Instruction[];
};

export function readDockerfile(): string {
  return readFileSync(join(root, 'Dockerfile'), 'utf8');
}

/** The stages in order, the image that is built last. */
export function parseStages(content: string): Stage[] {
  const stages: (Stage & { instructions: Instruction[] })[] = [];
  for (const instruction of parseInstructions(content)) {
    if (instruction.keyword === 'FROM') {
      const [image = '', as, name] = instruction.text.split(/\s+/);
      stages.push({ image, name: as?.toUpperCase() === 'AS' ? name : undefined, instructions: [] });
    } else {
      const stage = stages.at(-1);
      if (stage === undefined) throw new Error(`${instruction.keyword} before the first FROM`);
      stage.instructions.push(instruction);
    }
  }
  return stages;
}

function parseInstructions(content: string): Instruction[] {
  const lines = content.split('\n').filter((line) => !/^\s*#/.test(line));
  const joined = lines.join('\n').replaceAll(/\\\n\s*/g, '');
  return joined
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, keyword = '', options = '', text = ''] = /^(\w+)((?:\s+--[\w-]+=\S+)*)\s+(.*)$/.exec(line.trim()) ?? [];
      const flags = [...options.matchAll(/--([\w-]+)=(\S+)/g)].map(([, name = '', value = '']) => [name, value]);
      return { keyword: keyword.toUpperCase(), flags: Object.fromEntries(flags), text };
    });
}

/** The last word of a stage on something, or undefined. */
export function lastOf(stage: Stage, keyword: string): Instruction | undefined {
  return stage.instructions.findLast((each) => each.keyword === keyword);
}

/** `["a", "b"]`. @throws Error where it is in the form that a shell reads. */
export function execForm(text: string | undefined): string[] {
  const words: unknown = JSON.parse(text ?? '');
  if (!Array.isArray(words) || !words.every((word) => typeof word === 'string')) {
    throw new Error(`not a list of words: ${text}`);
  }
  return words;
}

/** `HEALTHCHECK CMD [...]`. */
export function healthCommand(stage: Stage): string[] {
  return execForm(lastOf(stage, 'HEALTHCHECK')?.text.replace(/^CMD\s+/, ''));
}

/** `KEY=value KEY="a value"` of all instructions with this keyword. */
export function pairsOf(stage: Stage, keyword: string): Record<string, string> {
  const texts = stage.instructions.filter((each) => each.keyword === keyword).map(({ text }) => text);
  const pairs = texts.flatMap((text) => [...text.matchAll(/([\w.]+)=(?:"([^"]*)"|(\S*))/g)]);
  return Object.fromEntries(pairs.map(([, key = '', quoted, bare]) => [key, quoted ?? bare ?? '']));
}

/** What .dockerignore lets through, as it lists it: files and folders of the checkout. */
export function contextEntries(): string[] {
  const lines = readFileSync(join(root, '.dockerignore'), 'utf8').split('\n');
  const [first, ...others] = lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
  if (first !== '*') throw new Error('.dockerignore must leave out everything first');
  return others.map((line) => {
    if (!/^![\w.-]+$/.test(line))
      throw new Error(`.dockerignore: ${line} is more than the name of what is let through`);
    return line.slice(1);
  });
}

/** Whether a path of the build context is there. */
export function isInContext(path: string): boolean {
  const isLet = contextEntries().some((entry) => path === entry || path.startsWith(`${entry}/`));
  return isLet && statSync(join(root, path), { throwIfNoEntry: false }) !== undefined;
}
