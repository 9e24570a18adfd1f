import { isIP } from 'node:net';

/** Whether an address that a server binds, or a name that a client uses, can only be reached from this machine. */
export function isLoopbackName(name: string): boolean {
  const plain = name.replace(/^\[|\]$/g, '').toLowerCase();
  if (plain === 'localhost' || plain.endsWith('.localhost') || plain === '::1') return true;
  const mapped = plain.startsWith('::ffff:') ? plain.slice('::ffff:'.length) : plain;
  return isIP(mapped) === 4 && mapped.startsWith('127.');
}
