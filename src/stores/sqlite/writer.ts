import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { openForWriting } from './connection.ts';
import { Eraser } from './eraser.ts';
import { unavailableReason } from './failures.ts';
import { goneMessage, isInPlace } from './file-identity.ts';
import { GroupCommit } from './group-commit.ts';
import type { Answer, FromWriter, Submission, ToWriter, WriterData } from './messages.ts';

/**
 * The writer's thread: a slow disk or a lock held by another process keeps this thread waiting, not the server. What
 * arrives during one commit is committed together by the next.
 */

/** Bounds the time that the first of a group waits for its last. What is queued is bounded by the main thread. */
const maxGroupOperations = 512;

const port = parentPort;
if (port === null) throw new Error('The writer runs as a worker thread only');

function say(message: FromWriter): void {
  port?.postMessage(message);
}

function open(setup: WriterData): ReturnType<typeof openForWriting> | undefined {
  try {
    // Opening would make a new file, which nobody reads.
    if (!isInPlace(setup.path, setup.file)) {
      say({ kind: 'unavailable', message: goneMessage(setup.path) });
      port?.close();
      return undefined;
    }
    return openForWriting(setup);
  } catch (error) {
    const reason = unavailableReason(error);
    const message = error instanceof Error ? error.message : String(error);
    if (reason === undefined) say({ kind: 'unusable', message });
    else say({ kind: 'unavailable', message: `${setup.path} can't be opened: ${reason} (${message})` });
    port?.close();
    return undefined;
  }
}

function refuse(group: readonly Submission[], message: string): Answer[] {
  return group.map(({ number }) => ({ number, outcome: { kind: 'unavailable', message } }));
}

const setup = workerData as WriterData;
const database = open(setup);
if (database !== undefined) {
  const groups = new GroupCommit(database, setup.synchronous);
  const eraser = new Eraser(database, setup.busyTimeoutMs);
  const queue: Submission[] = [];
  let isClosing = false;

  const take = (message: ToWriter): void => {
    if (message.kind === 'close') isClosing = true;
    else queue.push(...message.submissions);
  };

  port.on('message', (message: ToWriter) => {
    take(message);
    while (queue.length > 0) {
      for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
        take(next.message as ToWriter);
      }
      const group = queue.splice(0, maxGroupOperations);
      const isThere = isInPlace(setup.path, setup.file);
      say({ kind: 'answers', answers: isThere ? groups.commit(group) : refuse(group, goneMessage(setup.path)) });
      for (const { operation } of group) eraser.note(operation);
      eraser.eraseIfDue();
    }
    if (isClosing) {
      eraser.stop();
      database.close();
      port.close();
    }
  });
  say({ kind: 'open' });
}
