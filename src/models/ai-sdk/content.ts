import type { InputFilePart, InputImagePart } from '../../api/parts.ts';
import { invalidRequest } from '../../errors.ts';
import { isObject } from '../upstream/loose.ts';
import type { FilePart, OutputPart, SpecVersion } from './specification.ts';

/** What files are given to a package by. */
export type FileRules = {
  readonly version: SpecVersion;
  readonly plainTextOnly: boolean;
  /** The package's own `supportedUrls`: which URLs the vendor reads itself. Nothing is fetched here on its behalf. */
  readonly supportedUrls: unknown;
};

/** An image or a file with its kind, read from a part. */
type Content = { readonly mediaType: string; readonly filename: string | undefined } & (
  | { readonly base64: string }
  | { readonly url: URL }
);

/** Media types by the ends of names, for files that come without. */
const mediaTypes: Readonly<Record<string, string>> = {
  bmp: 'image/bmp',
  gif: 'image/gif',
  jpeg: 'image/jpeg',
  jpg: 'image/jpeg',
  png: 'image/png',
  webp: 'image/webp',
  csv: 'text/csv',
  htm: 'text/html',
  html: 'text/html',
  json: 'application/json',
  md: 'text/markdown',
  pdf: 'application/pdf',
  txt: 'text/plain',
  xml: 'text/xml',
};
/** Texts whose media type does not say so. */
const texts: ReadonlySet<string> = new Set(['application/json']);
/** What a PDF begins with, in base64. */
const pdfMagic = 'JVBERi0';
const dataUrl = /^data:([^;,]*)((?:;[^;,]*)*?)(;base64)?,/i;

/** An image or a file of a user. Throws an `ApiError` for a URL that the vendor does not read itself. */
export function userFile(part: InputImagePart | InputFilePart, rules: FileRules): FilePart {
  const { mediaType, filename, ...content } = contentOf(part, rules);
  return { type: 'file', mediaType, data: dataOf(content, rules.version), ...(filename !== undefined && { filename }) };
}

/** The same in the output of a tool. */
export function outputFile(part: InputImagePart | InputFilePart, rules: FileRules): OutputPart {
  const { mediaType, filename, ...content } = contentOf(part, rules);
  const named = filename === undefined ? {} : { filename };
  if (rules.version === 'v4') return { type: 'file', mediaType, data: dataOf(content, 'v4'), ...named };
  const kind = mediaType.startsWith('image/') ? 'image' : 'file';
  if ('url' in content) return { type: `${kind}-url`, url: content.url.href };
  return { type: `${kind}-data`, data: content.base64, mediaType, ...(kind === 'file' && named) };
}

function dataOf(content: { readonly base64: string } | { readonly url: URL }, version: SpecVersion): FilePart['data'] {
  if ('url' in content) return version === 'v3' ? content.url : { type: 'url', url: content.url };
  return version === 'v3' ? content.base64 : { type: 'data', data: content.base64 };
}

function contentOf(part: InputImagePart | InputFilePart, rules: FileRules): Content {
  const content = part.type === 'input_image' ? imageContent(part) : fileContent(part);
  if ('url' in content && !takesUrl(rules.supportedUrls, content.mediaType, content.url.href)) {
    throw invalidRequest(
      `This model does not read ${content.mediaType} from this address itself. Send the content instead, as a data URL.`,
      'input',
      'unsupported_value',
    );
  }
  const isText = content.mediaType.startsWith('text/') || texts.has(content.mediaType);
  return rules.plainTextOnly && isText ? { ...content, mediaType: 'text/plain' } : content;
}

function imageContent({ image_url: url }: InputImagePart): Content {
  return inline(url, 'image/*', undefined) ?? { ...linked(url, 'image/*'), filename: undefined };
}

function fileContent({ file_url: url, file_data: data, filename }: InputFilePart): Content {
  if (url !== undefined) return { ...linked(url, 'application/pdf'), filename };
  const text = data ?? '';
  const named = byName(filename);
  const given = inline(text, named, filename);
  if (given !== undefined) return given;
  const guessed = text.startsWith(pdfMagic) ? 'application/pdf' : 'text/plain';
  return { mediaType: named ?? guessed, filename, base64: text };
}

function linked(text: string, otherwise: string): { readonly mediaType: string; readonly url: URL } {
  if (!URL.canParse(text)) throw invalidRequest(`'${text.slice(0, 100)}' is not a URL.`, 'input', 'invalid_value');
  const url = new URL(text);
  return { mediaType: byName(url.pathname) ?? otherwise, url };
}

/** The content of a data URL. */
function inline(text: string, otherwise: string | undefined, filename: string | undefined): Content | undefined {
  // Only its head is looked at: the rest may be long.
  const match = dataUrl.exec(text.slice(0, 1_024));
  if (match === null) return undefined;
  const [head, type = '', , base64] = match;
  const rest = text.slice(head.length);
  const mediaType = type === '' ? (otherwise ?? 'text/plain') : type.toLowerCase();
  return { mediaType, filename, base64: base64 === undefined ? toBase64(rest) : rest };
}

function toBase64(encoded: string): string {
  try {
    return Buffer.from(decodeURIComponent(encoded)).toString('base64');
  } catch {
    throw invalidRequest('a data URL is not encoded as it should be', 'input', 'invalid_value');
  }
}

function byName(name: string | undefined): string | undefined {
  const end = name?.split('.').at(-1)?.toLowerCase();
  return end !== undefined && Object.hasOwn(mediaTypes, end) ? mediaTypes[end] : undefined;
}

/** Whether a URL matches a pattern of `supportedUrls`: a map from media types, which may hold `*`, to lists of patterns. */
function takesUrl(supported: unknown, mediaType: string, url: string): boolean {
  if (!isObject(supported)) return false;
  return Object.entries(supported).some(([key, patterns]) => {
    const isAny = key === '*' || key === '*/*';
    const isOfKind = key.endsWith('/*') && mediaType.startsWith(key.slice(0, -1));
    if (!isAny && !isOfKind && key.toLowerCase() !== mediaType) return false;
    return Array.isArray(patterns) && patterns.some((each) => each instanceof RegExp && url.search(each) >= 0);
  });
}
