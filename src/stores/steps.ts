/** What a backend answers: at once, or when its database has. */
export type Answer<T> = T | Promise<T>;

/**
 * The way of one rule through the rows. It hands out what it waits for and is given what came of it, so that a rule is
 * written once for stores that answer at once and for those at the other end of a network. Over rows that answer at
 * once it never pauses: nothing can happen in between.
 */
export type Steps<T> = Generator<Promise<unknown>, T, unknown>;

/** One step: `const thread = yield* got(rows.thread(tenant, id))`. */
export function* got<T>(answer: Answer<T>): Steps<T> {
  return answer instanceof Promise ? ((yield answer) as T) : answer;
}

/** Two steps at once, for questions of which neither needs the other's answer. */
export function* gotBoth<A, B>(first: Answer<A>, second: Answer<B>): Steps<readonly [A, B]> {
  if (!(first instanceof Promise) && !(second instanceof Promise)) return [first, second];
  return (yield Promise.all([first, second])) as readonly [A, B];
}

/** Walks over rows that answer at once. @throws what the rule throws. */
export function runAtOnce<T>(steps: Steps<T>): T {
  const { done, value } = steps.next();
  if (done !== true) throw new Error('Rows that answer at once have kept a rule waiting');
  return value;
}

/** Walks over rows that answer in their own time. */
export async function runSteps<T>(steps: Steps<T>): Promise<T> {
  let step = steps.next();
  while (step.done !== true) {
    let answer: unknown;
    try {
      answer = await step.value;
    } catch (error) {
      step = steps.throw(error);
      continue;
    }
    step = steps.next(answer);
  }
  return step.value;
}
