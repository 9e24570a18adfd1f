import { BlockList, isIP } from 'node:net';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Whether an address that a server binds, or a name that a client uses, can only be reached from this machine. */
export function isLoopbackName(name: string): boolean {
  const plain = plainName(name);
  if (plain === 'localhost' || plain.endsWith('.localhost')) return true;
  const family = isIP(plain);
  return family !== 0 && loopback.check(plain, family === 6 ? 'ipv6' : 'ipv4');
}

/** A host name or address in one form: lower case, without brackets, an IPv4 address never in IPv6's clothes. */
export function plainName(name: string): string {
  const plain = name.replace(/^\[|\]$/g, '').toLowerCase();
  // A URL parser writes all of IPv6 in one way, and the last half of such an address as two hexadecimal numbers.
  const parsed = isIP(plain) === 6 ? URL.parse(`http://[${plain}]`)?.hostname.slice(1, -1) : undefined;
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(parsed ?? '');
  if (mapped === null) return parsed ?? plain;
  const [high, low] = [Number.parseInt(mapped[1] ?? '', 16), Number.parseInt(mapped[2] ?? '', 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}
