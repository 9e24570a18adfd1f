import type { Conversation } from './conversation.ts';
import { bare, capitalised, contentStems, maxAnalysedChars, sentencesOf, shortened, stems, unquoted } from './words.ts';

/** An answer, and the least that still answers: what remains of it when one word is wanted. */
export type Answer = { readonly text: string; readonly brief: string };

/** What remains of an answer that says that nothing of the kind was told. */
export const unknown = 'Unknown';

/** Something that the user said, turned towards the user: `your name is Ada`. */
type Fact = { readonly key: string; readonly statement: string; readonly value: string };

/** Older messages than these are not searched, and of more facts the oldest are forgotten. */
const maxMessages = 2_000;
const maxFactChars = 40_000;
const maxFacts = 500;
const maxQuotedChars = 2_000;

const question =
  /^(?:(?:please|and|so|ok|okay|hi|hello|then)[,!]? )*(?:what|who|where|which|when|how|do|did|can|could|tell|am|is|name)\b/i;

/**
 * Answers what can be answered from what the user said earlier:
 * `My name is Ada.` … `What is my name?`; `I live in Rome.` … `Where do I live?`; `The code word is plum.` … `What is
 * the code word?`; `Remember that …` … `What do you remember?`; `What did I say first?`, `… last?`, `… before?`
 */
export function recall(conversation: Conversation): Answer | undefined {
  const asked = sentencesOf(conversation.prompt).find((each) => question.test(each));
  if (asked === undefined) return undefined;
  const quoted = quoteEarlier(asked, conversation.userTexts);
  if (quoted !== undefined) return quoted;
  const subject = subjectOf(asked);
  const wanted = contentStems(asked);
  const asksAll = /\b(?:do you (?:remember|know)|did i tell you|told you|know about me|asked? you to remember)\b/i.test(
    asked,
  );
  if (subject === undefined && wanted.size === 0 && !asksAll) return undefined;
  const facts = factsOf(conversation.userTexts);
  if (subject !== undefined) {
    const known = facts.findLast((fact) => fact.key === subject);
    if (known !== undefined) return told([known]);
  }
  const fitting = wanted.size === 0 ? [] : facts.filter((fact) => covers(fact, wanted));
  if (fitting.length > 0) return told(fitting);
  if (asksAll) return facts.length > 0 ? told(facts, 'You told me: ') : nothingTold('anything to remember');
  return subject !== undefined && /\bmy\b/i.test(asked) ? nothingTold(`your ${subject}`) : undefined;
}

function nothingTold(what: string): Answer {
  return { text: `You have not told me ${what} yet.`, brief: unknown };
}

function told(facts: readonly Fact[], before = ''): Answer {
  const joined = facts.map((fact) => fact.statement).join('; ');
  return { text: `${capitalised(`${before}${joined}`)}.`, brief: facts.at(-1)?.value ?? joined };
}

/** What a question asks for: `my X`, `the X`; the name for `who am I`. */
function subjectOf(asked: string): string | undefined {
  if (/\bwho am i\b/i.test(asked)) return 'name';
  const named = /\b(?:my|the)\s+([\p{L}\p{N}' -]{1,60})/iu.exec(asked);
  return named?.[1] === undefined
    ? undefined
    : keyOf(named[1].replace(/\s+(?:again|now|called|please|is|are)\s*$/i, ''));
}

function keyOf(text: string): string {
  return text.toLowerCase().replace(/\s+/g, ' ').trim();
}

function covers(fact: Fact, wanted: ReadonlySet<string>): boolean {
  const has = stems(fact.statement);
  return [...wanted].every((each) => has.has(each));
}

function quoteEarlier(asked: string, userTexts: readonly string[]): Answer | undefined {
  const form = /\bwhat (?:did i (?:just )?(?:say|ask|write|tell you)|was my (?:\w+ )?(?:message|question))\b/i;
  if (!form.test(asked)) return undefined;
  const earlier = userTexts.slice(0, -1);
  const first = /\bfirst\b/i.test(asked);
  const text = first ? earlier[0] : earlier.at(-1);
  if (text === undefined) return { text: 'You have not said anything before this.', brief: 'Nothing' };
  const shown = shortened(text.trim(), maxQuotedChars);
  return { text: `Your ${first ? 'first' : 'previous'} message was: "${shown}"`, brief: shown };
}

/** What all but the newest message state, and what the newest states before it asks. A newer value replaces an older one. */
function factsOf(userTexts: readonly string[]): Fact[] {
  const facts = new Map<string, Fact>();
  for (const text of newestOf(userTexts)) {
    for (const sentence of sentencesOf(text)) {
      if (sentence.endsWith('?')) continue;
      for (const fact of factsIn(sentence)) {
        facts.delete(fact.key);
        facts.set(fact.key, fact);
        const oldest = facts.size > maxFacts ? facts.keys().next().value : undefined;
        if (oldest !== undefined) facts.delete(oldest);
      }
    }
  }
  return [...facts.values()];
}

/** The newest messages that are not too much to read, oldest first. */
function newestOf(userTexts: readonly string[]): readonly string[] {
  let chars = 0;
  const texts = userTexts.slice(-maxMessages);
  const tooOld = texts.findLastIndex((text) => {
    chars += Math.min(text.length, maxAnalysedChars);
    return chars > maxFactChars;
  });
  return texts.slice(tooOld + 1);
}

// Blanks are single ones in a sentence, and words are of bounded length, so that no text takes long to fail.
const myFact = /\bmy ([\p{L}\p{N}' -]{1,60}?) (is|are|was|were) (?:called |named )?(\S.*)$/isu;
const theFact = /\bthe ((?:[\p{L}\p{N}-]{1,40} ){0,3}[\p{L}\p{N}-]{1,40}) (is|are|was|were) (\S.*)$/isu;
const nameFact =
  /\b(?:call me|i am called|i(?:'|’| a)m) (\p{Lu}[\p{L}'’-]{0,40}(?: \p{Lu}[\p{L}'’-]{0,40}){0,3})[.!]{0,10}$/u;
const iFact =
  /(?:^|[,;:] ?|\bthat )i(?: (am|live|work|like|love|prefer|have|own|study|come|play|speak|drive|hate|want|need)|(?:'|’)m) (\S.*)$/is;
const remembered = /\b(?:remember|note|keep in mind)(?: that| this)? ?[:,]? (\S.*)$/is;

function factsIn(sentence: string): Fact[] {
  const mine = myFact.exec(sentence);
  if (mine?.[1] !== undefined && mine[3] !== undefined) {
    const value = bare(mine[3]);
    return [{ key: keyOf(mine[1]), statement: `your ${mine[1]} ${mine[2]} ${turned(value)}`, value }];
  }
  const named = nameFact.exec(
    sentence
      .replace(/^(I)\s/i, 'i ')
      .replace(/\bI(?= |'|’)/g, 'i')
      .replace(/\bCall me/, 'call me'),
  );
  if (named?.[1] !== undefined) return [{ key: 'name', statement: `your name is ${named[1]}`, value: named[1] }];
  const about = iFact.exec(sentence);
  if (about?.[2] !== undefined) {
    const verb = (about[1] ?? 'am').toLowerCase() === 'am' ? 'are' : (about[1] ?? '').toLowerCase();
    const value = bare(about[2]);
    return [
      {
        key: `you ${verb} ${value}`,
        statement: `you ${verb} ${turned(value)}`,
        value: value.replace(/^(?:in|at|as|from)\s+/i, ''),
      },
    ];
  }
  const other = theFact.exec(sentence);
  if (other?.[1] !== undefined && other[3] !== undefined) {
    const value = bare(other[3]);
    return [{ key: keyOf(other[1]), statement: `the ${other[1]} ${other[2]} ${turned(value)}`, value }];
  }
  const kept = remembered.exec(sentence);
  if (kept?.[1] === undefined || /^(?:me|you|i)\b/i.test(kept[1])) return [];
  const value = bare(kept[1]);
  return [{ key: `remember ${value}`, statement: turned(value), value: unquoted(value) }];
}

/** The user's `my` and `I` become `your` and `you`. */
function turned(text: string): string {
  const words: Record<string, string> = { my: 'your', i: 'you', me: 'you', mine: 'yours', myself: 'yourself' };
  return text.replace(/\b(?:my|i|me|mine|myself)\b(?!['’])/gi, (word) => words[word.toLowerCase()] ?? word);
}
