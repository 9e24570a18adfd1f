import { extname } from 'node:path';
import type { ContentPart, InputFilePart, InputImagePart } from '../../api/parts.ts';
import type { Profile } from '../profiles.ts';

export type TextPart = { type: 'text'; text: string };
type ImagePart = { type: 'image_url'; image_url: { url: string; detail?: 'low' | 'high' } };
type FilePart =
  | { type: 'file'; file: { filename: string; file_data: string } }
  | { type: 'document_url'; document_url: string; document_name: string };

export type UserPart = TextPart | ImagePart | FilePart;

/** The content of a message: a plain text where it is nothing else. */
export function toContent(parts: readonly ContentPart[], profile: Profile): string | UserPart[] {
  const only = parts[0];
  if (only === undefined) return '';
  if (parts.length === 1 && !isMedia(only)) return textOf(only);
  return parts.map((part) => (isMedia(part) ? toMedia(part, profile) : { type: 'text', text: textOf(part) }));
}

export function isMedia(part: ContentPart): part is InputImagePart | InputFilePart {
  return part.type === 'input_image' || part.type === 'input_file';
}

export function toMedia(part: InputImagePart | InputFilePart, profile: Profile): UserPart {
  return part.type === 'input_image' ? toImage(part) : toFile(part, profile);
}

export function joinText(parts: readonly ContentPart[]): string {
  const texts: string[] = [];
  for (const part of parts) {
    if (part.type === 'input_text' || part.type === 'output_text') texts.push(part.text);
  }
  return texts.join('\n');
}

function textOf(part: Exclude<ContentPart, InputImagePart | InputFilePart>): string {
  return part.type === 'refusal' ? part.refusal : part.text;
}

/** `original` is a detail that chat completions don't know; `high` comes nearest. `auto` is the default. */
function toImage(part: InputImagePart): ImagePart {
  if (part.detail === 'auto') return { type: 'image_url', image_url: { url: part.image_url } };
  const detail = part.detail === 'low' ? 'low' : 'high';
  return { type: 'image_url', image_url: { url: part.image_url, detail } };
}

function toFile(part: InputFilePart, profile: Profile): FilePart {
  const filename = part.filename ?? nameIn(part.file_url) ?? 'document.pdf';
  const content = part.file_url ?? toDataUrl(part.file_data ?? '', filename);
  return profile.fileParts === 'file'
    ? { type: 'file', file: { filename, file_data: content } }
    : { type: 'document_url', document_url: content, document_name: filename };
}

function nameIn(url: string | undefined): string | undefined {
  const path = url === undefined || !URL.canParse(url) ? '' : new URL(url).pathname;
  return path.split('/').at(-1) || undefined;
}

const mediaTypes: Readonly<Record<string, string>> = {
  '.csv': 'text/csv',
  '.docx': 'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
  '.html': 'text/html',
  '.json': 'application/json',
  '.md': 'text/markdown',
  '.pptx': 'application/vnd.openxmlformats-officedocument.presentationml.presentation',
  '.txt': 'text/plain',
  '.xlsx': 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
};

/** Clients may send bare base64, vendors want a data URL. A name that says nothing is taken for that of a PDF. */
function toDataUrl(data: string, filename: string): string {
  if (data.startsWith('data:')) return data;
  return `data:${mediaTypes[extname(filename).toLowerCase()] ?? 'application/pdf'};base64,${data}`;
}
