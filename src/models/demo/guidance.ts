import type { Answer } from './facts.ts';
import { bare, maxAnalysedChars, unquoted } from './words.ts';

/** What the instructions, and the system and developer messages, ask of an answer's form. */
export type Guidance = {
  readonly exactly: string | undefined;
  readonly oneWord: boolean;
  readonly upperCase: boolean;
  readonly lowerCase: boolean;
  readonly begin: string | undefined;
  readonly end: string | undefined;
  readonly name: string | undefined;
};

/**
 * Reads the few forms that are followed: `Reply with exactly: X` (also `respond`, `answer`; `only`, `always`);
 * `Answer in one word`; `Answer in upper case` or `lower case`; `Always start with X`; `Always end with X`; `Your name
 * is X`. X is in quotation marks, or goes on to the end of the sentence.
 */
export function readGuidance(guidance: string, prompt: string): Guidance {
  const text = guidance.slice(0, maxAnalysedChars);
  const oneWord = /\b(?:in|with|using|only|exactly|just) (?:only |exactly |just |a )?(?:one|a single|single) word\b/i;
  return {
    exactly: valueAfter(
      text,
      /\b(?:reply|respond|answer)(?: always| only)? with (?:exactly|only)(?: the (?:word|words|text|phrase))?:? */i,
    ),
    oneWord: oneWord.test(text) || oneWord.test(prompt.slice(0, maxAnalysedChars)),
    upperCase: /\b(?:in|use|using) (?:all )?(?:upper ?case|capitals|capital letters|all caps)\b/i.test(text),
    lowerCase: /\b(?:in|use|using) (?:all )?lower ?case\b/i.test(text),
    begin: valueAfter(text, /\b(?:always |must )(?:start|begin)(?: \w+){0,3}? with:? */i),
    end: valueAfter(text, /\b(?:(?:always |must )end(?: \w+){0,3}?|end (?:each|every|all|your) \w+) with:? */i),
    name: valueAfter(text, /\byour name is */i),
  };
}

function valueAfter(text: string, form: RegExp): string | undefined {
  const found = form.exec(text);
  if (found === null) return undefined;
  const rest = text.slice(found.index + found[0].length);
  // "one word" here says how long the answer is, not what it is.
  if (/^(?:one|a single) word\b/i.test(rest)) return undefined;
  const quoted = /^(?:"[^"\n]+"|“[^”\n]+”|'[^'\n]+'(?!\p{L})|`[^`\n]+`)/u.exec(rest)?.[0];
  if (quoted !== undefined) return unquoted(quoted);
  const sentence = /^[^\n]*?(?:(?<![!?])[!?]+(?=\s|$)|(?=\.(?:\s|$))|(?=\n)|$)/.exec(rest)?.[0].trim();
  return sentence === '' ? undefined : sentence;
}

/** The answer in the form that is asked for. */
export function guided(answer: Answer, guidance: Guidance): string {
  if (guidance.exactly !== undefined) return guidance.exactly;
  let text = guidance.oneWord ? firstWord(answer.brief) : answer.text;
  if (guidance.upperCase) text = text.toUpperCase();
  else if (guidance.lowerCase) text = text.toLowerCase();
  if (guidance.begin !== undefined && !text.startsWith(guidance.begin)) text = `${guidance.begin} ${text}`;
  if (guidance.end !== undefined && !text.endsWith(guidance.end)) text = `${text} ${guidance.end}`;
  return text;
}

function firstWord(text: string): string {
  return /[\p{L}\p{N}][\p{L}\p{N}'’-]*/u.exec(bare(text.slice(0, maxAnalysedChars)))?.[0] ?? 'Okay';
}
