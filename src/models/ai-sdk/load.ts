import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { ConfigError } from '../../config-error.ts';
import { isObject, type Loose } from '../upstream/loose.ts';
import { type Habits, habitsOf } from './packages.ts';
import type { LanguageModel, ProviderSettings, SpecVersion } from './specification.ts';

/** A vendor's package, loaded and looked at. */
export type LoadedPackage = {
  readonly name: string;
  readonly version: SpecVersion;
  readonly habits: Habits;
  /** A model by the vendor's name for it. Cheap: one is made for each call. Throws whatever the package does. */
  model(modelName: string, settings: ProviderSettings): LanguageModel;
};

/** Where packages are looked for: the folder that the server was started in, then beside the server itself. */
export function packageFolders(): readonly string[] {
  return [process.cwd(), fileURLToPath(new URL('.', import.meta.url))];
}

/**
 * Loads the package of a provider that the operator installed.
 * @throws ConfigError where it is not there, or not a provider of the AI SDK in a version that is spoken here.
 */
export async function loadPackage(
  packageName: string,
  providerName: string,
  folders: readonly string[] = packageFolders(),
): Promise<LoadedPackage> {
  const fail = (what: string, cause?: unknown) =>
    new ConfigError(`open-responses.providers.${providerName}.package: ${packageName} ${what}${because(cause)}`);
  const file = find(packageName, folders);
  if (file === undefined) {
    throw fail(`is not installed. Run: npm i ${installName(packageName)}`);
  }
  let loaded: unknown;
  try {
    loaded = await import(pathToFileURL(file).href);
  } catch (error) {
    throw fail('could not be loaded', error);
  }
  const habits = habitsOf(packageName);
  const create = factoryIn(isObject(loaded) ? loaded : {}, packageName, habits.factory);
  if (create === undefined) throw fail('exports no `create…` function of an AI SDK provider.');
  const model = (modelName: string, settings: ProviderSettings) => modelOf(create(settings), modelName);
  const version = probe(model, habits.baseUrl, fail);
  return { name: packageName, version, habits, model };
}

/** Makes one model that is never called, to see what the package speaks. */
function probe(
  model: LoadedPackage['model'],
  baseUrl: string | undefined,
  fail: (what: string, cause?: unknown) => ConfigError,
): SpecVersion {
  const fetch = () => Promise.reject(new Error('nothing is called here'));
  let version: unknown;
  try {
    version = model('probe', { baseURL: baseUrl ?? 'http://127.0.0.1', apiKey: 'none', fetch }).specificationVersion;
  } catch (error) {
    throw fail('makes no language models', error);
  }
  if (version === 'v3' || version === 'v4') return version;
  throw fail(
    `speaks version ${String(version)} of the AI SDK's specification. Versions v3 and v4 can be used here: install another release of the package.`,
  );
}

function find(packageName: string, folders: readonly string[]): string | undefined {
  for (const folder of folders) {
    try {
      return createRequire(join(folder, 'here.js')).resolve(packageName);
    } catch {
      // Not there: perhaps in the next one.
    }
  }
  return undefined;
}

type Factory = (settings: ProviderSettings) => unknown;

function factoryIn(exported: Loose, packageName: string, known: string | undefined): Factory | undefined {
  const named = known === undefined ? undefined : exported[known];
  if (isFactory(named)) return named;
  const factories = Object.entries(exported).filter(([name, value]) => /^create[A-Z]/.test(name) && isFactory(value));
  // `createAmazonBedrock` of `@ai-sdk/amazon-bedrock`.
  const wanted = `create${(packageName.split('/').at(-1) ?? '').replaceAll('-', '')}`.toLowerCase();
  const found = factories.find(([name]) => name.toLowerCase() === wanted)?.[1];
  if (isFactory(found)) return found;
  // One function may have several names.
  const [only, ...others] = new Set(factories.map(([, value]) => value));
  return isFactory(only) && others.length === 0 ? only : undefined;
}

function isFactory(value: unknown): value is Factory {
  return typeof value === 'function';
}

function modelOf(provider: unknown, modelName: string): LanguageModel {
  const made = provider as { languageModel?: (name: string) => LanguageModel } | undefined;
  if (typeof made?.languageModel === 'function') return made.languageModel(modelName);
  throw new TypeError('it has no languageModel()');
}

/** A subpath is no package of its own. */
function installName(packageName: string): string {
  return packageName
    .split('/')
    .slice(0, packageName.startsWith('@') ? 2 : 1)
    .join('/');
}

function because(cause: unknown): string {
  if (cause === undefined) return '';
  return `: ${cause instanceof Error ? cause.message : String(cause)}`;
}
