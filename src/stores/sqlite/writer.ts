import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { WriterSetup } from './connection.ts';
import { openForWriting } from './connection.ts';
import { Eraser } from './eraser.ts';
import { unavailableReason } from './failures.ts';
import { GroupCommit } from './group-commit.ts';
import type { FromWriter, Submission, ToWriter } from './messages.ts';

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

function open(setup: WriterSetup): ReturnType<typeof openForWriting> | undefined {
  try {
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

const setup = workerData as WriterSetup;
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
      say({ kind: 'answers', answers: groups.commit(group) });
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
